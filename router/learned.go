package router

import (
	"log/slog"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/learned"
	"meridian/router/meter"
	"meridian/router/table"
)

// learnedAtStart gives what was learned; nothing where the file cannot be used: without it decisions are right, and a process that did not
// start would answer nobody.
func learnedAtStart(cfg *config.Config, model *decide.Model, metrics meter.Metrics, log *slog.Logger) *learned.Set {
	set, err := openLearnedAnew(cfg, model)
	if err != nil {
		metrics.Count("learned_refused_total", string(geo.FaultOf(err)))
		log.Error("learned round trips cannot be used; regions are chosen without them", "error", err)
	}
	return set
}

// openLearned loads what cfg has learned, and compares it with what is in use. It changes nothing.
func openLearned(cfg *config.Config, model *decide.Model, data *geo.Data, inUse *learned.Set) (*learned.Set, error) {
	set, err := openLearnedAnew(cfg, model)
	if err != nil {
		return nil, err
	}
	return set, learned.CheckSwap(model, data, inUse, set, cfg.Router.CanaryAddresses(), cfg.Router.Learned.ChangedShare)
}

// openLearnedAnew loads what cfg has learned.
func openLearnedAnew(cfg *config.Config, model *decide.Model) (*learned.Set, error) {
	return learned.Open(cfg.Router.Learned, model, time.Now())
}

// relearn takes the learned round trips anew into a table that serves. After an error, which is Reload's, the old ones stay.
func relearn(cfg *config.Config, live *table.Live, hosts []chat.ZoneSpec) error {
	defer geo.Frugal(cfg.Router)()
	model, data := live.Model(), live.Data()
	set, err := openLearned(cfg, model, data, live.Learned())
	if err != nil {
		return err
	}
	return live.ReplaceLearned(model, data, set, hosts)
}

// relearn takes the learned round trips anew while serving.
func (r *Router) relearn() error {
	r.reload.Lock()
	defer r.reload.Unlock()
	now := r.view()
	err := relearn(now.cfg, now.live, now.hosts)
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

// tellLearned tells how old what was learned is.
func tellLearned(m meter.Metrics, set *learned.Set) {
	if set != nil {
		m.Set("learned_age_seconds", time.Since(set.Collected()).Seconds())
	}
}
