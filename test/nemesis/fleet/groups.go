package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	meridian "meridian/sdk/go"
)

const (
	// groupCount groups are made, each of groupMembers people of all regions who stay, and of groupLeavers of the next group's who
	// will be removed one by one.
	groupCount   = 3
	groupMembers = 5
	groupLeavers = 4
	// groupTimeout bounds the wait until every member's region knows the group.
	groupTimeout = patience
)

// group is one that people of all regions write to.
type group struct {
	id      string
	owner   *Person
	members []*Person // those who stay, the owner first
	leavers []*Person // who are still to be removed
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
	count := min(groupCount, len(people)/groupMembers)
	for i := range count {
		next := people[(i+1)%count*groupMembers:]
		g := &group{members: people[i*groupMembers : (i+1)*groupMembers], leavers: next[groupMembers-groupLeavers : groupMembers]}
		if count == 1 {
			g.leavers = nil
		}
		if err := f.makeGroup(ctx, g, fmt.Sprintf("group %d", i)); err != nil {
			return err
		}
		f.groups = append(f.groups, g)
	}
	return nil
}

func (f *Fleet) makeGroup(ctx context.Context, g *group, name string) error {
	g.owner = g.members[0]
	all := append(slices.Clone(g.members), g.leavers...)
	var names []string
	for _, p := range all[1:] {
		names = append(names, p.Name)
	}
	made, err := g.owner.api(ctx, func(api *meridian.API) (any, error) {
		return api.MakeGroup(ctx, meridian.NewGroup{Name: name, Members: names})
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
