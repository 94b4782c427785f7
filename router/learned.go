package router

import (
	"time"

	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/learned"
)

// learnedAtStart gives what was learned; nothing where the file cannot be used: without it decisions are right, and a router that did not
// start would answer nobody.
func learnedAtStart(opts Options, model *decide.Model) *learned.Set {
	set, err := learned.Open(opts.Config.Router.Learned, model, time.Now())
	if err != nil {
		opts.Metrics.Count("learned_refused_total", string(geo.FaultOf(err)))
		opts.Log.Error("learned round trips cannot be used; regions are chosen without them", "error", err)
	}
	return set
}

// openLearned loads what cfg has learned, and compares it with what is in use. It changes nothing.
func (r *Router) openLearned(cfg *config.Config, model *decide.Model, data *geo.Data) (*learned.Set, error) {
	set, err := openLearnedAnew(cfg, model)
	if err != nil {
		return nil, err
	}
	return set, learned.CheckSwap(model, data, r.Table().Learned(), set, cfg.Router.CanaryAddresses(), cfg.Router.Learned.ChangedShare)
}

// openLearnedAnew loads what cfg has learned.
func openLearnedAnew(cfg *config.Config, model *decide.Model) (*learned.Set, error) {
	return learned.Open(cfg.Router.Learned, model, time.Now())
}

// relearn takes the learned round trips anew while serving. After an error, which is Reload's, the old ones stay.
func (r *Router) relearn() error {
	r.reload.Lock()
	defer r.reload.Unlock()
	now := r.view()
	defer geo.Frugal(now.cfg.Router)()
	model, data := now.live.Model(), now.live.Data()
	set, err := r.openLearned(now.cfg, model, data)
	if err == nil {
		err = now.live.ReplaceLearned(model, data, set, now.hosts)
	}
	r.countReload(err)
	return err
}

// countReload counts a reload, with what was wrong with a file.
func (r *Router) countReload(err error) {
	if err == nil {
		r.opts.Metrics.Count("router_reloads_total", "taken")
		return
	}
	r.opts.Metrics.Count("router_reloads_total", "refused")
	switch fault := geo.FaultOf(err); {
	case fault == "":
	case learned.Concerns(err):
		r.opts.Metrics.Count("learned_refused_total", string(fault))
	default:
		r.opts.Metrics.Count("geo_refused_total", string(fault))
	}
}

// learnedFiles gives the file that the learned round trips of cfg are in.
func learnedFiles(cfg *config.Config) []string {
	if cfg.Router.Learned.File == "" {
		return nil
	}
	return []string{cfg.Router.Learned.File}
}
