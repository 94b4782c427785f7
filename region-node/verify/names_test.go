package verify

import (
	"context"
	"encoding/binary"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"meridian/chat"
	"meridian/sim/memstore"
)

// directories are three regions' usernames in memory; solo's names are ap's to speak for only.
type directories struct {
	t        *testing.T
	services map[chat.Region]*Service
	stores   map[chat.Region]*memstore.Store
	calls    int
}

func newDirectories(t *testing.T) *directories {
	d := &directories{t: t, services: map[chat.Region]*Service{}, stores: map[chat.Region]*memstore.Store{}}
	all := []chat.Region{"ap", "eu", "us"}
	for _, region := range all {
		d.stores[region] = memstore.Open(memstore.New(region, "n1"), memstore.Retention{})
		d.services[region] = New(Options{
			Self: region, Store: d.stores[region], Remote: caller{d, region}, Directory: giver{d, region}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Topology: chat.Topology{Regions: all, Zones: map[chat.Zone]chat.ZoneSpec{
				"all": {Name: "all", Regions: all}, "solo": {Name: "solo", Regions: []chat.Region{"ap"}},
			}},
		})
	}
	return d
}

// caller hands calls over in the process.
type caller struct {
	d    *directories
	from chat.Region
}

func (c caller) Call(ctx context.Context, to chat.Region, method string, payload []byte) ([]byte, error) {
	c.d.calls++
	reply, _, err := c.d.services[to].Handle(ctx, c.from, method, payload)
	return reply, err
}

// giver mends as auth does, where nothing is contested.
type giver struct {
	d  *directories
	at chat.Region
}

func (g giver) Mend(ctx context.Context, key chat.ClaimKey) (found bool, brought int, err error) {
	c, ok, err := g.d.stores[g.at].Claim(ctx, key)
	if err != nil || !ok || c.Pending {
		return false, 0, err
	}
	if t := g.d.services[g.at].opt.Topology; !t.InZone(g.at, c.Zone) {
		return false, 0, &chat.Error{Code: chat.CodeDenied}
	}
	for _, other := range g.d.stores {
		if _, ok, _ := other.Claim(ctx, key); !ok {
			brought++
		}
		if err := confirm(other, c); err != nil {
			return true, brought, err
		}
	}
	return true, brought, nil
}

func confirm(s *memstore.Store, claims ...chat.Claim) error {
	done := make(chan error, 1)
	s.Commit(&chat.Batch{Claims: claims}, func(err error) { done <- err })
	return <-done
}

func nameOf(n int, zone chat.Zone) chat.Claim {
	c := chat.Claim{Zone: zone, Attempt: chat.UUID{1}, Version: chat.HLC(n + 1)}
	binary.BigEndian.PutUint32(c.Key[:], uint32(n)*2654435761) // all over the keys
	binary.BigEndian.PutUint32(c.Key[4:], uint32(n+1))
	return c
}

func (d *directories) give(c chat.Claim, regions ...chat.Region) {
	for _, region := range regions {
		if err := confirm(d.stores[region], c); err != nil {
			d.t.Fatal(err)
		}
	}
}

// compare compares eu with us.
func (d *directories) compare(zone chat.Zone, repair bool) NamesReport {
	r, err := d.services["eu"].CompareNames(d.t.Context(), zone, "us", repair, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return NamesReport{Names: r.Names, Differ: r.Differ, Brought: r.Brought, Left: r.Left}
}

// What one of two directories lacks is counted once, wherever it lies among thousands of names on either side, and given to it
// by whoever has it and may speak for its zone, also a third region. Then one digest a page says that all is alike.
func TestNamesAreMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectories(t)
		const names = 6000
		want := 0
		for n := range names {
			switch {
			case n < 2000 || n%5 > 0: // what eu has not comes in long stretches, too
				d.give(nameOf(n, "all"), "ap", "us")
				want++
			case n%10 == 0:
				d.give(nameOf(n, "all"), "ap", "eu")
				want++
			default:
				d.give(nameOf(n, "all"), "ap", "eu", "us")
			}
		}
		d.give(nameOf(names, "solo"), "ap", "us")
		if got := d.compare("solo", false); got != (NamesReport{Names: 1, Differ: 1, Left: 1}) {
			t.Errorf("one zone's names: %+v", got)
		}
		if got := d.compare("all", false); got != (NamesReport{Names: names, Differ: want, Left: want}) {
			t.Errorf("the other's: %+v, want %d of %d", got, want, names)
		}
		if got := d.compare("", true); got != (NamesReport{Names: names + 1, Differ: want + 1, Brought: want + 1}) {
			t.Errorf("mended: %+v", got)
		}
		d.calls = 0
		if got := d.compare("", false); got != (NamesReport{Names: names + 1}) || d.calls > names/namesPage+1 {
			t.Errorf("after: %+v, in %d calls", got, d.calls)
		}
	})
}

// A reservation is no name; names that two regions have for different sign-ups differ, and stay where nobody may decide.
func TestNamesThatNobodyMends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectories(t)
		reserved, mine, theirs := nameOf(1, "all"), nameOf(2, "all"), nameOf(2, "all")
		reserved.Pending = true
		if _, err := d.stores["eu"].Reserve(t.Context(), reserved); err != nil {
			t.Fatal(err)
		}
		theirs.Attempt = chat.UUID{2}
		d.give(mine, "eu")
		d.give(theirs, "us")
		for _, s := range d.services {
			s.opt.Directory = refuser{}
		}
		if got := d.compare("", true); got != (NamesReport{Names: 1, Differ: 1, Left: 1}) {
			t.Errorf("%+v", got)
		}
		if list, err := d.stores["us"].Claims(t.Context(), chat.ClaimKey{}, 10); err != nil || !slices.Equal(list, []chat.Claim{theirs}) {
			t.Errorf("us has %v, %v", list, err)
		}
	})
}

// refuser finds that others have the name.
type refuser struct{}

func (refuser) Mend(context.Context, chat.ClaimKey) (bool, int, error) {
	return false, 0, &chat.Error{Code: chat.CodeVersionConflict}
}

// A peer whose answer does not go on, or goes on too far, ends the comparison instead of holding it for ever.
func TestNamesOfALiar(t *testing.T) {
	d := newDirectories(t)
	d.give(nameOf(1, "all"), "eu")
	d.services["eu"].opt.Remote = liar{}
	if _, err := d.services["eu"].CompareNames(t.Context(), "", "us", false, nil); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("%v", err)
	}
	if _, err := d.services["eu"].CompareNames(t.Context(), "", "mars", false, nil); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("with a region that is none: %v", err)
	}
}

type liar struct{}

func (liar) Call(context.Context, chat.Region, string, []byte) ([]byte, error) {
	return []byte("{}"), nil
}
