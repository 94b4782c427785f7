package fleet

import (
	"context"
	"fmt"
	"time"

	meridian "meridian/sdk/go"
	"meridian/test/history"
)

const (
	// groupCount groups are made, each of groupMembers people of all regions and of one who will be removed.
	groupCount   = 3
	groupMembers = 5
	// groupTimeout bounds the wait until every member's region knows the group.
	groupTimeout = 30 * time.Second
)

// group is one that people of all regions write to.
type group struct {
	id      string
	owner   *Person
	members []*Person // those who stay, the owner first
	leaver  *Person
}

// MakeGroups makes groups across the regions, and lets people edit, delete and react from now on. Call it before Write.
func (f *Fleet) MakeGroups(ctx context.Context) error {
	f.alters = true
	var people []*Person
	for _, p := range f.People {
		if p.Zone != "in" { // that zone lets nothing out
			people = append(people, p)
		}
	}
	for i := range min(groupCount, len(people)/(groupMembers+1)) {
		all := people[i*(groupMembers+1) : (i+1)*(groupMembers+1)]
		g := &group{owner: all[0], members: all[:groupMembers], leaver: all[groupMembers]}
		var names []string
		for _, p := range all[1:] {
			names = append(names, p.Name)
		}
		made, err := g.owner.api(ctx, func(api *meridian.API) (any, error) {
			return api.MakeGroup(ctx, meridian.NewGroup{Name: fmt.Sprintf("group %d", i), Members: names})
		})
		if err != nil {
			return fmt.Errorf("make a group: %w", err)
		}
		g.id = made.(meridian.Conversation).ID
		for _, p := range all {
			if err := p.waitGroup(ctx, g.id); err != nil {
				return err
			}
			p.groups = append(p.groups, g)
		}
		f.groups = append(f.groups, g)
	}
	return nil
}

// api makes a call to the region that serves the person, again and again while the answer is one that may pass.
func (p *Person) api(ctx context.Context, call func(*meridian.API) (any, error)) (out any, err error) {
	for end := time.Now().Add(groupTimeout); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		var api *meridian.API
		if api, err = p.device().API(); err == nil {
			out, err = call(api)
		}
		if err == nil || !errRetry(err) {
			break
		}
	}
	return out, err
}

// waitGroup waits until the person's region knows the group.
func (p *Person) waitGroup(ctx context.Context, id string) (err error) {
	for end := time.Now().Add(groupTimeout); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err = p.api(ctx, func(api *meridian.API) (any, error) { return api.Group(ctx, id, "", 1) }); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s does not see the group: %w", p.Name, err)
}

// Remove removes one member of each group, and notes when that was sure.
func (f *Fleet) Remove(ctx context.Context) error {
	for _, g := range f.groups {
		g.leaver.mu.Lock()
		g.leaver.groups, g.leaver.removed = nil, true
		g.leaver.mu.Unlock()
		_, err := g.owner.api(ctx, func(api *meridian.API) (any, error) { return nil, api.DeleteMember(ctx, g.id, g.leaver.Name) })
		if err != nil {
			return fmt.Errorf("remove %s from a group: %w", g.leaver.Name, err)
		}
		f.mu.Lock()
		f.removals = append(f.removals, history.Removal{User: g.leaver.ID, Group: g.id, Done: f.now()})
		f.mu.Unlock()
	}
	return nil
}

// left says whether the person was a member of a group that it was removed from: what it was pushed on the way is not
// promised to be in its mailbox.
func (f *Fleet) left(p *Person) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.removals {
		if r.User == p.ID {
			return true
		}
	}
	return false
}
