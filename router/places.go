package router

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/meter"
	"meridian/router/table"
)

// PlacesOptions is what Places need.
type PlacesOptions struct {
	Config *config.Config
	Model  *decide.Model
	Data   *geo.Data
	// WatchEvery is how often the file is looked at; 0: as often as a Router does.
	WatchEvery time.Duration
	Metrics    meter.Metrics
	Log        *slog.Logger
}

// Places say what a decision about a client begins with, in a process that decides and is no Router: a region's node. What was learned is
// taken anew when its file changes, with the checks of a Router and what it holds on to, so that both come to the same.
type Places struct {
	opts PlacesOptions
	live *table.Live // nil: nothing is learned
	file watcher
}

// NewPlaces loads what was learned, if the configuration names a file. The error is table.New's.
func NewPlaces(opts PlacesOptions) (*Places, error) {
	opts.WatchEvery, opts.Metrics = cmp.Or(opts.WatchEvery, watchEvery), meter.Or(opts.Metrics)
	p := &Places{opts: opts, file: watcher{taken: stamps(learnedFiles(opts.Config))}}
	if len(p.file.taken) == 0 {
		return p, nil
	}
	defer geo.Frugal(opts.Config.Router)()
	var err error
	p.live, err = table.NewLearned(opts.Model, opts.Data, learnedAtStart(opts.Config, opts.Model, opts.Metrics, opts.Log), nil)
	return p, err
}

// Tell puts into the input of a decision where its address is, what was learned of it and what is held on to.
func (p *Places) Tell(in *decide.Input) {
	if p.live == nil {
		in.Place, in.Prefix = p.opts.Data.Lookup(in.Address)
		return
	}
	p.live.Tell(in)
}

// Watch takes what was learned anew when its file changes, until ctx ends.
func (p *Places) Watch(ctx context.Context) {
	if p.live == nil {
		return
	}
	tick := time.NewTicker(p.opts.WatchEvery)
	defer tick.Stop()
	for {
		tellLearned(p.opts.Metrics, p.live.Learned())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !p.file.look(stamps(learnedFiles(p.opts.Config))) {
			continue
		}
		if err := relearn(p.opts.Config, p.live, nil); err != nil {
			p.opts.Metrics.Count("learned_refused_total", string(geo.FaultOf(err)))
			p.opts.Log.Error("the file of learned round trips changed but cannot be used; the old ones stay", "error", err)
			continue
		}
		p.opts.Log.Info("learned round trips reloaded", "learned", p.live.Learned().Edition())
	}
}
