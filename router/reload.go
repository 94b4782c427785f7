package router

import (
	"slices"

	"meridian/chat"
	"meridian/config"
	"meridian/router/geo"
	"meridian/router/learned"
)

// Reload takes another configuration while serving, and with it the address files anew: regions and where they are, zones and their hosts,
// rules, biases, the limits of health, and what GeoDNS answers and for how long. What sockets, names and pages hang on needs a restart (see
// fixed). Address files are compared with those in use (see geo.CheckSwap). A region that is left out is not named from then on by anybody
// who asks this router; that is refused while people are there, unless force is set. After an error everything stays as it was: CodeInvalid, which
// names the key or file, or CodeDenied when a region is left out in which people are.
func (r *Router) Reload(cfg *config.Config, force bool) error {
	r.reload.Lock()
	defer r.reload.Unlock()
	err := r.replace(cfg, force)
	r.countReload(err)
	return err
}

// reloadFiles takes the address files anew with the configuration that is in use once its turn has come: not with one that a reload before it
// has replaced.
func (r *Router) reloadFiles() error {
	r.reload.Lock()
	defer r.reload.Unlock()
	err := r.replace(r.config(), true)
	r.countReload(err)
	return err
}

func (r *Router) replace(cfg *config.Config, force bool) error {
	old := r.view()
	if err := fixed(r.opts.Config, cfg); err != nil {
		return err
	}
	if err := refuseRemoved(r.removedBy(cfg), force || r.opts.Force); err != nil {
		return err
	}
	regions, err := r.regionsOf(cfg)
	if err != nil {
		return err
	}
	defer geo.Frugal(cfg.Router)()
	next := newView(cfg, regions)
	if err := r.fill(next, old); err != nil {
		return err
	}
	if r.dns != nil {
		names, err := r.newDNS(next)
		if err == nil {
			err = r.dns.Take(names)
		}
		if err != nil {
			return err
		}
	}
	r.inUse.Store(next)
	r.monitor.Change(cfg.Regions, cfg.Router.Health, targets(regions))
	if err := r.remember(); err != nil {
		r.opts.Log.Error("the regions are not remembered: a later configuration may leave out one with people", "error", err)
	}
	return nil
}

// fill gives a view its table: one of its own, for regions and hosts have their numbers by the configuration, that goes on from the old.
func (r *Router) fill(next, old *view) error {
	model, data, err := load(next.cfg, nil)
	if err != nil {
		return err
	}
	c := next.cfg.Router
	if err := geo.CheckSwap(model, old.live.Data(), data, c.CanaryAddresses(), c.CanaryChangedShare); err != nil {
		return err
	}
	var set *learned.Set
	if sameRegions(old.cfg, next.cfg) {
		set, err = openLearned(next.cfg, model, data, old.live.Learned())
	} else { // what was learned before names regions by other numbers
		set, err = openLearnedAnew(next.cfg, model)
	}
	if err != nil {
		return err
	}
	next.live, err = old.live.Next(model, data, set, next.hosts)
	return err
}

// sameRegions says that two configurations have the same regions in one order.
func sameRegions(a, b *config.Config) bool {
	return slices.EqualFunc(a.Regions, b.Regions, func(x, y config.Region) bool { return x.Name == y.Name })
}

// fixed refuses what a running router cannot change: what it was started with.
func fixed(old, now *config.Config) error {
	for _, one := range []struct{ key, old, now string }{
		{"name", old.Name, now.Name},
		{"router.http", old.Router.HTTP, now.Router.HTTP},
		{"router.dns", old.Router.DNS, now.Router.DNS},
		{"router.domain", old.Router.Domain, now.Router.Domain},
		{"data_dir", old.DataDir, now.DataDir},
	} {
		if one.old != one.now {
			return &chat.Error{
				Code: chat.CodeInvalid, Op: "router.Reload",
				Message: one.key + ": it was \"" + one.old + "\" when the router started, and is now \"" + one.now + "\": this needs a restart",
			}
		}
	}
	for _, z := range now.Zones { // its keys were not loaded
		if _, known := old.Topology().Zone(z.Name); !known {
			return &chat.Error{Code: chat.CodeInvalid, Op: "router.Reload", Message: "zones." + string(z.Name) + ": a new zone needs a restart"}
		}
	}
	return nil
}
