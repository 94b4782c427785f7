package router

import (
	"context"
	"os"
	"slices"
	"time"

	"meridian/config"
	"meridian/router/geo"
)

// watchEvery is how often the files of addresses and of learned round trips are looked at.
const watchEvery = 10 * time.Second

// watch reloads when a file has changed and has then kept still for one look, so that one that is being written is not read by
// half.
func (r *Router) watch(ctx context.Context) {
	tick := time.NewTicker(r.opts.WatchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		cfg := r.config()
		addresses, learned := r.addresses.look(stamps(geo.Files(cfg.Router))), r.learned.look(stamps(learnedFiles(cfg)))
		switch {
		case addresses:
			r.told(r.reloadFiles(), "address files")
		case learned:
			r.told(r.relearn(), "learned round trips")
		}
	}
}

// told logs what came of a changed file.
func (r *Router) told(err error, what string) {
	if err != nil {
		r.opts.Log.Error("a file changed but cannot be used; the old data stays", "what", what, "error", err)
		return
	}
	r.opts.Log.Info("files reloaded", "what", what, "data", r.Table().Data().Edition(), "learned", r.Table().Learned().Edition())
}

func (r *Router) config() *config.Config { return r.view().cfg }

// stamp tells whether a file has changed; the zero stamp is that of a file that is not there.
type stamp struct {
	size    int64
	changed time.Time
}

func stamps(files []string) []stamp {
	out := make([]stamp, len(files))
	for i, f := range files {
		if info, err := os.Stat(f); err == nil {
			out[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return out
}

// watcher remembers what was loaded and what was seen at the last look.
type watcher struct{ taken, seen []stamp }

// look says that now differs from what was loaded and is as it was at the last look; then it counts as loaded.
func (w *watcher) look(now []stamp) bool {
	still := slices.Equal(now, w.seen)
	w.seen = now
	if !still || slices.Equal(now, w.taken) {
		return false
	}
	w.taken = now
	return true
}
