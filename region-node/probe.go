package regionnode

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"meridian/chat"
	"meridian/region-node/messages"
	"meridian/region-node/probe"
	"meridian/region-node/wire"
)

const (
	// probeEvery is how often at most the way of a message is walked, however many ask: what a probe costs the store.
	probeEvery = 500 * time.Millisecond
	// probeWait is how long who asks waits for a walk. It is short: half of what a prober has goes into the way to a region far away.
	probeWait = 100 * time.Millisecond
	// probeWithin is how long a walk may take: a region that is slower than that counts as broken, one that is not as slow.
	probeWithin = 2 * time.Second
)

// pathServices are the services that a message needs: sockets to be sent and shown by, and reads of what was missed. Log-ins are none:
// a token is good for ten minutes, and every node verifies it by itself.
var pathServices = []chat.Service{chat.ServiceChat, chat.ServiceMessages}

// probes tell whether the way of a message through this region works, by service: through this node, and through the others.
type probes struct {
	here, there map[chat.Service]*probe.Prober
}

func (n *Node) buildProbes() {
	tries := map[chat.Service]func(context.Context, func(string, time.Duration)) error{
		chat.ServiceChat: n.walk, chat.ServiceMessages: n.readPage,
	}
	n.probes = probes{here: make(map[chat.Service]*probe.Prober), there: make(map[chat.Service]*probe.Prober)}
	for _, service := range pathServices {
		count := func(took time.Duration, err error) {
			outcome := "ok"
			if err != nil {
				outcome = "failed"
			}
			n.opt.Metrics.Count("path_probes_total", string(service), outcome)
			n.opt.Metrics.Observe("path_probe_seconds", took.Seconds(), string(service))
		}
		n.probes.here[service] = probe.New(probe.Options{Try: tries[service], Every: probeEvery, Wait: probeWait, Within: probeWithin, Ended: count})
		n.probes.there[service] = probe.New(probe.Options{Try: n.askOthers(service), Every: probeEvery, Wait: 2 * probeWait, Within: probeWithin})
	}
}

func (p *probes) close() {
	for _, all := range []map[chat.Service]*probe.Prober{p.here, p.there} {
		for _, one := range all {
			one.Close()
		}
	}
}

// walk goes the way of a message through this node, once. Where nodes share a store, what is new is shown when all of them agree that it
// is complete, or the lease of one that is gone has run out and its op log was adopted: that may take so much longer.
func (n *Node) walk(ctx context.Context, at func(string, time.Duration)) error {
	shown := probeWithin
	if lease := n.lease(); lease > 0 {
		shown += lease + n.opt.Config.Timing.AdoptWait
	}
	within := map[string]time.Duration{messages.StepHub: shown, messages.StepRead: shown}
	at("token", probeWithin)
	if err := n.auth.Prove(); err != nil {
		return err
	}
	return n.messages.Walk(ctx, func(step string) {
		at(step, cmp.Or(within[step], probeWithin))
	})
}

// readPage reads what somebody sees who opens the application: of somebody who has nothing.
func (n *Node) readPage(ctx context.Context, at func(string, time.Duration)) error {
	at("page", probeWithin)
	_, _, err := n.people.Conversations(ctx, chat.UserID(uuid.New()), chat.NoMessage, 1)
	return err
}

// askOthers asks the nodes of the region that run a service.
func (n *Node) askOthers(service chat.Service) func(context.Context, func(string, time.Duration)) error {
	return func(ctx context.Context, at func(string, time.Duration)) error {
		at(string(service)+" of another node", probeWithin)
		return n.edge.ProbeOthers(ctx, service)
	}
}

// probeHere says why a service does not work on this node, for another one that asks.
func (n *Node) probeHere(ctx context.Context, service chat.Service) error {
	p, ok := n.probes.here[service]
	if !ok {
		return &chat.Error{Code: chat.CodeInvalid, Op: "regionnode.probeHere", Message: "no service of that name is on the way of a message"}
	}
	return p.Ask(ctx)
}

// Probe says why a message would not get through this region, nil when it would: every service that it needs works on this node or, where
// this one does not serve it now, on another. Errors: those of Ready, of the store, and CodeRegionDegraded.
func (n *Node) Probe(ctx context.Context) error {
	errs := make([]error, len(pathServices))
	var wg sync.WaitGroup
	for i, service := range pathServices {
		wg.Go(func() {
			if n.edge.Serves(service) {
				errs[i] = n.probes.here[service].Ask(ctx)
			} else {
				errs[i] = n.probes.there[service].Ask(ctx)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// serveProbe answers whether a message gets through this region, to routers and other regions; everybody may ask.
func (n *Node) serveProbe(w http.ResponseWriter, r *http.Request) {
	if err := n.Probe(r.Context()); err != nil {
		wire.WriteError(w, r, err)
		return
	}
	wire.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok", "region": string(n.opt.Region), "node": string(n.identity.Node)})
}
