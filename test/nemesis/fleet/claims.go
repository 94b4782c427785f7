package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"meridian/chat"
	meridian "meridian/sdk/go"
	"meridian/test/history"
)

const (
	// contestEvery is how often a name is contested; claimTimeout bounds each attempt.
	contestEvery = 2 * time.Second
	claimTimeout = 8 * time.Second
)

// contest lets two people in two regions sign up under one new name at once, again and again, until ctx ends.
func (f *Fleet) contest(ctx context.Context) {
	tick := time.NewTicker(contestEvery)
	defer tick.Stop()
	var claims sync.WaitGroup
	defer claims.Wait()
	regions := f.regions()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		name := fmt.Sprintf("contested-%d", i)
		for side := range 2 {
			claims.Go(func() { f.claim(name, regions[(i+side)%len(regions)]) })
		}
	}
}

func (f *Fleet) regions() []chat.Region {
	var all []chat.Region
	for _, ref := range f.world.Nodes() {
		if len(all) == 0 || all[len(all)-1] != ref.Region {
			all = append(all, ref.Region)
		}
	}
	return all
}

// claim tries once, and notes what came of it.
func (f *Fleet) claim(name string, region chat.Region) {
	ctx, cancel := context.WithTimeout(context.Background(), claimTimeout)
	defer cancel()
	c := history.Claim{Kind: history.ClaimName, Name: name, Region: string(region), Invoked: f.now()}
	account, err := f.api(region).SignUp(ctx, meridian.SignUp{Username: name, Password: Password, Zone: "world"})
	c.Returned = f.now()
	switch {
	case err == nil:
		c.Outcome, c.User = history.Acked, account.UserID
	case meridian.CodeOf(err) == meridian.CodeUsernameTaken:
		c.Outcome = history.Failed
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.claims = append(f.claims, c)
}

// Claims gives what was claimed, and asks every region in regions who has each of the names now. Where some are lost, a region
// may say of a name that nobody was given that it cannot know. Many people ask, for what one may ask in a second is limited.
func (r *Reader) Claims(ctx context.Context, regions []chat.Region) ([]history.Claim, error) {
	f := r.fleet
	f.mu.Lock()
	all := append([]history.Claim(nil), f.claims...)
	f.mu.Unlock()
	given := map[string]bool{} // names, and whether somebody was told to have it
	for _, c := range all {
		given[c.Name] = given[c.Name] || c.Outcome == history.Acked
	}
	var askers []*Person
	for _, p := range f.People {
		if p.Zone == "world" {
			askers = append(askers, p)
		}
	}
	for _, region := range regions {
		for i, name := range slices.Sorted(maps.Keys(given)) {
			var api *meridian.API
			err := whileRefused(func() (err error) { api, err = r.api(ctx, askers[i%len(askers)], region); return err })
			if err != nil {
				return nil, err
			}
			look, err := f.lookUp(ctx, api, name, region)
			if meridian.CodeOf(err) == meridian.CodeNoMajority && len(regions) < len(f.regions()) && !given[name] {
				continue
			}
			if errRetry(err) {
				err = whileRefused(func() (err error) { look, err = f.lookUp(ctx, api, name, region); return err })
			}
			if err != nil && meridian.CodeOf(err) != meridian.CodeUnknownUser {
				return nil, fmt.Errorf("look %s up at %s: %w", name, region, err)
			}
			all = append(all, look)
		}
	}
	return all, nil
}

// whileRefused does something anew while it is refused for the moment, for patience at most, and gives the last error.
func whileRefused(do func() error) error {
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		if err := do(); !errRetry(err) || time.Now().After(end) {
			return err
		}
	}
}

// lookUp asks a region once who has a name.
func (f *Fleet) lookUp(ctx context.Context, api *meridian.API, name string, region chat.Region) (history.Claim, error) {
	look := history.Claim{Kind: history.LookUpName, Name: name, Region: string(region), Invoked: f.now(), Outcome: history.Acked}
	profile, err := api.User(ctx, name)
	look.Returned, look.User = f.now(), profile.UserID
	return look, err
}
