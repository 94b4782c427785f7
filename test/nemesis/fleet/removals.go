package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	meridian "meridian/sdk/go"
	"meridian/test/history"
)

const (
	// removeTimeout bounds a removal from its beginning until a region has taken it, whatever happens meanwhile.
	removeTimeout = 2 * time.Minute
	// lastWords is how long somebody says nothing to a group before being removed: what is written at the same time may or may
	// not count, and a region that has not heard of the removal would take what counts nowhere.
	lastWords = time.Second
	// askEvery is how often each node is asked whether it knows of a removal.
	askEvery = 250 * time.Millisecond
)

// RemoveNext removes one more member from one of the groups, and watches from then on what that member is shown. It returns
// when the removal is durable, and does nothing when nobody is left to be removed.
func (f *Fleet) RemoveNext(ctx context.Context) error {
	g, p := f.nextLeaver()
	if g == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	p.leaveGroup(g)
	for p.Pending() > 0 && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(lastWords)
	for ctx.Err() == nil {
		_, err := g.owner.api(ctx, func(api *meridian.API) (any, error) { return nil, api.DeleteMember(ctx, g.id, p.Name) })
		if err == nil {
			f.noteRemoval(p, g)
			return nil
		}
		if !errRetry(err) {
			return fmt.Errorf("remove %s from a group: %w", p.Name, err)
		}
	}
	return fmt.Errorf("%s was not removed from a group within %v", p.Name, removeTimeout)
}

// nextLeaver chooses who is removed next: from the group that has the most to remove.
func (f *Fleet) nextLeaver() (g *group, p *Person) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, other := range f.groups {
		if len(other.leavers) > 0 && (g == nil || len(other.leavers) > len(g.leavers)) {
			g = other
		}
	}
	if g != nil {
		p, g.leavers = g.leavers[0], g.leavers[1:]
	}
	return g, p
}

// leaveGroup lets the person say nothing more to a group.
func (p *Person) leaveGroup(g *group) {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.groups = slices.DeleteFunc(slices.Clone(p.groups), func(other *group) bool { return other == g })
	p.removed = append(slices.Clone(p.removed), g.id)
}

// noteRemoval notes when the removal was sure, and lets every node of the person's zone be asked until it knows.
func (f *Fleet) noteRemoval(p *Person, g *group) {
	r := &history.Removal{User: p.ID, Group: g.id, Done: f.now(), Known: map[string]time.Duration{}}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removals = append(f.removals, r)
	for _, ref := range f.world.Nodes() {
		if url := f.world.URL(ref); slices.Contains(f.zones[p.Zone], ref.Region) {
			f.asks.Go(func() { f.ask(p, g, r, url) })
		}
	}
}

// ask asks a node for the group until it says that the person is no member: from then on it must show the person nothing new
// of it.
func (f *Fleet) ask(p *Person, g *group, r *history.Removal, url string) {
	for ; f.asking.Err() == nil; time.Sleep(askEvery) {
		p.mu.Lock()
		token := p.tokens.Access
		p.mu.Unlock()
		api := &meridian.API{BaseURL: url, Header: header(p.Near), Token: func(context.Context) (string, error) { return token, nil }}
		ctx, cancel := context.WithTimeout(f.asking, readTimeout)
		_, err := api.Group(ctx, g.id, "", 1)
		cancel()
		if meridian.CodeOf(err) == meridian.CodeNotMember {
			f.mu.Lock()
			r.Known[url] = f.now()
			f.mu.Unlock()
			return
		}
	}
}

// Known counts the removals, and the nodes that were seen to know of one.
func (f *Fleet) Known() (removals, nodes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.removals {
		nodes += len(r.Known)
	}
	return len(f.removals), nodes
}

// removed gives a copy of the removals.
func (f *Fleet) removed() []history.Removal {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []history.Removal
	for _, r := range f.removals {
		all = append(all, history.Removal{User: r.User, Group: r.Group, Done: r.Done, Known: maps.Clone(r.Known)})
	}
	return all
}
