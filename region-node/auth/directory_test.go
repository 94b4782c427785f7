package auth

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"meridian/chat"
	"meridian/replication/claim"
	"meridian/sim/memstore"
)

// world is the directories of several regions that call each other directly.
type world struct {
	topology chat.Topology
	regions  map[chat.Region]*Directory
	stores   map[chat.Region]chat.Store

	mu   sync.Mutex
	now  time.Time
	down map[chat.Region]bool
}

func newWorld(t *testing.T, topology chat.Topology) *world {
	w := &world{
		topology: topology, regions: map[chat.Region]*Directory{}, stores: map[chat.Region]chat.Store{},
		now: time.Unix(1_800_000_000, 0), down: map[chat.Region]bool{},
	}
	for _, r := range topology.Regions {
		store := memstore.Open(memstore.New(r, "n1"), memstore.Retention{})
		t.Cleanup(func() { _ = store.Close() })
		w.stores[r] = store
		w.restart(r)
	}
	return w
}

// restart begins r's directory anew, on what is stored: sign-ups that ran there are gone.
func (w *world) restart(r chat.Region) {
	w.regions[r] = newDirectory(claim.Config{Self: r, Topology: w.topology, Timeout: 2 * time.Second}, DirectoryKey{7}, w.stores[r], caller{w, r}, w.clock)
}

// claim holds c, as a sign-up does that goes on for ever.
func (d *Directory) claim(ctx context.Context, c chat.Claim) error {
	_, err := d.hold(ctx, c)
	return err
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// lose makes regions unreachable, and only these.
func (w *world) lose(regions ...chat.Region) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.down)
	for _, r := range regions {
		w.down[r] = true
	}
}

func (w *world) cut(a, b chat.Region) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down[a] || w.down[b]
}

// caller is the Remote of one region.
type caller struct {
	w    *world
	from chat.Region
}

func (c caller) Call(ctx context.Context, region chat.Region, method string, payload []byte) ([]byte, error) {
	if c.w.cut(c.from, region) {
		return nil, &chat.Error{Code: chat.CodeZoneUnreachable, Message: "no link"}
	}
	return c.w.regions[region].handle(ctx, c.from, method, bytes.Clone(payload))
}

func (w *world) entry(r chat.Region, name string, user byte, zone chat.Zone) chat.Claim {
	return w.regions[r].entry(Normalise(name), chat.UserID{user}, zone, chat.UUID(uuid.New()))
}

// confirm gives c to the given regions, as relays do after the sign-up.
func (w *world) confirm(t *testing.T, c chat.Claim, regions ...chat.Region) {
	t.Helper()
	c.Pending = false
	for _, r := range regions {
		done := make(chan error, 1)
		w.stores[r].Commit(&chat.Batch{Claims: []chat.Claim{c}}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// held gives the regions that hold an entry of this attempt.
func (w *world) held(t *testing.T, c chat.Claim) (regions []chat.Region) {
	t.Helper()
	for _, r := range w.topology.Regions {
		if stands, ok, err := w.stores[r].Claim(t.Context(), c.Key); err != nil {
			t.Fatal(err)
		} else if ok && stands.Attempt == c.Attempt {
			regions = append(regions, r)
		}
	}
	return regions
}

var threeRegions = chat.Topology{
	Regions: []chat.Region{"ap-south", "eu-west", "us-east"},
	Zones: map[chat.Zone]chat.ZoneSpec{
		"world": {Name: "world", Regions: []chat.Region{"ap-south", "eu-west", "us-east"}},
		"eu":    {Name: "eu", Regions: []chat.Region{"eu-west"}},
		"in":    {Name: "in", Regions: []chat.Region{"ap-south"}},
	},
}

// nameOwnedBy gives a name whose slot belongs to region.
func (w *world) nameOwnedBy(region chat.Region) string {
	for i := 0; ; i++ {
		name := fmt.Sprintf("user%d", i)
		if claim.SlotOwner(w.topology, w.regions[region].claimKey(Normalise(name))) == region {
			return name
		}
	}
}

// Of sign-ups of one name at the same time in all regions exactly one succeeds, and what the others reserved is free.
func TestOneOfConcurrentClaimsWins(t *testing.T) {
	for round := range 50 {
		w := newWorld(t, threeRegions)
		claims := make([]chat.Claim, 6)
		errs := make([]error, len(claims))
		var attempts sync.WaitGroup
		for i := range claims {
			region := threeRegions.Regions[i%3]
			claims[i] = w.entry(region, fmt.Sprint("name", round), byte(i+1), "world")
			attempts.Go(func() { errs[i] = w.regions[region].claim(t.Context(), claims[i]) })
		}
		attempts.Wait()
		won := 0
		for i, err := range errs {
			switch chat.CodeOf(err) {
			case "":
				won++
				if n := len(w.held(t, claims[i])); n < 2 {
					t.Errorf("round %d: the winner is held by %d regions, want a majority", round, n)
				}
			case chat.CodeUsernameTaken:
				if left := w.held(t, claims[i]); len(left) != 0 {
					t.Errorf("round %d: a loser still holds %v", round, left)
				}
			default:
				t.Errorf("round %d: %v", round, err)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d sign-ups won", round, won)
		}
	}
}

// A claim needs its slot owner and a majority; without them it is refused as retryable, and leaves nothing behind where
// regions answer. Losing one region that does not own the slot changes nothing.
func TestClaimNeedsOwnerAndMajority(t *testing.T) {
	for name, c := range map[string]struct {
		at, owner chat.Region
		lost      []chat.Region
		want      chat.Code
	}{
		"all up":                 {"us-east", "eu-west", nil, ""},
		"owner lost":             {"us-east", "eu-west", []chat.Region{"eu-west"}, chat.CodeNoMajority},
		"other lost":             {"us-east", "eu-west", []chat.Region{"ap-south"}, ""},
		"other lost, owner here": {"us-east", "us-east", []chat.Region{"ap-south"}, ""},
		"alone, owner here":      {"us-east", "us-east", []chat.Region{"ap-south", "eu-west"}, chat.CodeNoMajority},
	} {
		w := newWorld(t, threeRegions)
		wanted := w.entry(c.at, w.nameOwnedBy(c.owner), 1, "world")
		w.lose(c.lost...)
		err := w.regions[c.at].claim(t.Context(), wanted)
		if chat.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err == nil {
			continue
		}
		if chat.AsError(err).RetryAfter <= 0 {
			t.Errorf("%s: %v has no RetryAfter", name, err)
		}
		if held := w.held(t, wanted); len(held) != 0 {
			t.Errorf("%s: %v still hold the name", name, held)
		}
	}
}

// The name of a claim is not to be had again though its slot owner lost its memory: a majority remembers.
func TestClaimOutlivesItsSlotOwner(t *testing.T) {
	w := newWorld(t, threeRegions)
	name := w.nameOwnedBy("eu-west")
	first := w.entry("us-east", name, 1, "world")
	w.confirm(t, first, "us-east", "ap-south")
	second := w.entry("us-east", name, 2, "eu")
	if err := w.regions["eu-west"].claim(t.Context(), second); chat.CodeOf(err) != chat.CodeUsernameTaken {
		t.Errorf("second claim: %v, want %s", err, chat.CodeUsernameTaken)
	}
	// Nor where the others hold the first as pending only.
	w = newWorld(t, threeRegions)
	first = w.entry("us-east", name, 1, "world")
	for _, r := range []chat.Region{"us-east", "ap-south"} {
		if _, err := w.stores[r].Reserve(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.regions["eu-west"].claim(t.Context(), second); chat.CodeOf(err) != chat.CodeNoMajority {
		t.Errorf("second claim against pending ones: %v, want %s", err, chat.CodeNoMajority)
	}
}

// A retry of the same attempt succeeds; another attempt is refused while the first may still be at work, and gets the name
// after claim.PendingTTL, unless the first runs still, a region of its zone knows it as confirmed, or cannot be asked.
func TestAbandonedClaimIsFreeAgain(t *testing.T) {
	w := newWorld(t, threeRegions)
	name := w.nameOwnedBy("eu-west")
	first := w.entry("us-east", name, 1, "world")
	for range 2 {
		if err := w.regions["us-east"].claim(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	second := w.entry("ap-south", name, 2, "in")
	try := func() chat.Code { return chat.CodeOf(w.regions["ap-south"].claim(t.Context(), second)) }
	w.pass(claim.PendingTTL - time.Minute)
	if got := try(); got != chat.CodeUsernameTaken {
		t.Errorf("before claim.PendingTTL: %q", got)
	}
	w.pass(2 * time.Minute)
	w.lose("us-east")
	if got := try(); got != chat.CodeUsernameTaken {
		t.Errorf("after claim.PendingTTL, while a region of its zone cannot be asked: %q", got)
	}
	w.lose()
	if got := try(); got != chat.CodeUsernameTaken {
		t.Errorf("after claim.PendingTTL, while the first sign-up runs: %q", got)
	}
	w.restart("us-east")
	w.confirm(t, first, "us-east")
	if got := try(); got != chat.CodeUsernameTaken {
		t.Errorf("after claim.PendingTTL, confirmed where it was made: %q", got)
	}

	w = newWorld(t, threeRegions)
	if err := w.regions["us-east"].claim(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	for len(w.held(t, first)) < 3 { // the third region's reservation is still on its way
		runtime.Gosched()
	}
	w.pass(claim.PendingTTL + time.Minute)
	w.restart("us-east")
	if got := try(); got != "" {
		t.Errorf("abandoned: %q", got)
	}
	if held := w.held(t, first); len(held) > 1 {
		t.Errorf("the abandoned attempt is still held by %v", held)
	}
}

// A name is found from every region: where the claim has arrived, from the slot owner where it has not, and from the region
// that made it when the slot owner is lost or has it as pending still. It is unknown only where that is certain.
func TestFindAsksWhoKnows(t *testing.T) {
	for name, c := range map[string]struct {
		known, pending, lost []chat.Region
		want                 bool
		code                 chat.Code
	}{
		"here":                      {known: []chat.Region{"ap-south"}, lost: []chat.Region{"eu-west", "us-east"}, want: true},
		"at the owner":              {known: []chat.Region{"eu-west"}, lost: []chat.Region{"us-east"}, want: true},
		"where it was made":         {known: []chat.Region{"us-east"}, pending: []chat.Region{"eu-west"}, want: true},
		"pending here":              {known: []chat.Region{"us-east"}, pending: []chat.Region{"ap-south"}, want: true},
		"owner lost":                {known: []chat.Region{"us-east"}, lost: []chat.Region{"eu-west"}, want: true},
		"nowhere":                   {},
		"pending everywhere":        {pending: threeRegions.Regions},
		"nowhere, one lost":         {lost: []chat.Region{"eu-west"}},
		"nowhere, nobody to ask":    {lost: []chat.Region{"eu-west", "us-east"}, code: chat.CodeNoMajority},
		"only where nobody answers": {known: []chat.Region{"us-east"}, lost: []chat.Region{"eu-west", "us-east"}, code: chat.CodeNoMajority},
		"pending, maker lost":       {pending: []chat.Region{"ap-south", "eu-west"}, lost: []chat.Region{"us-east"}, code: chat.CodeNoMajority},
	} {
		w := newWorld(t, threeRegions)
		username := w.nameOwnedBy("eu-west")
		made := w.entry("us-east", username, 9, "world")
		w.confirm(t, made, c.known...)
		for _, r := range c.pending {
			if _, err := w.stores[r].Reserve(t.Context(), made); err != nil {
				t.Fatal(err)
			}
		}
		w.lose(c.lost...)
		at := w.regions["ap-south"]
		got, found, err := at.find(t.Context(), Normalise(username))
		if found != c.want || chat.CodeOf(err) != c.code {
			t.Errorf("%s: found %v, %v, want %v, %q", name, found, err, c.want, c.code)
		}
		if found && at.blind(Normalise(username), got.Blinded) != (chat.UserID{9}) {
			t.Errorf("%s: the claim gives another user", name)
		}
	}
}

// A region claims and releases for zones that it serves only, and what cannot be read is refused; nothing is stored.
func TestDirectoryRefusesRogueRegions(t *testing.T) {
	w := newWorld(t, threeRegions)
	at := w.regions["eu-west"]
	ofEU, ofIN := w.entry("eu-west", "anna", 1, "eu"), w.entry("ap-south", "ravi", 2, "in")
	if err := at.claim(t.Context(), ofEU); err != nil {
		t.Fatal(err)
	}
	relabelled, unknown, long := ofEU, ofIN, ofIN
	relabelled.Zone, unknown.Zone, long.Zone = "in", "mars", chat.Zone(bytes.Repeat([]byte("z"), 100))
	good := encodeClaim(ofIN)
	for name, c := range map[string]struct {
		from    chat.Region
		method  string
		payload []byte
		want    chat.Code
	}{
		"reserve for another's zone":  {"us-east", MethodReserve, encodeClaim(ofIN), chat.CodeDenied},
		"reserve for no zone":         {"us-east", MethodReserve, encodeClaim(unknown), chat.CodeDenied},
		"reserve from no region":      {"", MethodReserve, encodeClaim(ofIN), chat.CodeDenied},
		"release another's":           {"ap-south", MethodRelease, encodeClaim(ofEU), chat.CodeDenied},
		"release another's as own":    {"ap-south", MethodRelease, encodeClaim(relabelled), chat.CodeDenied},
		"reserve nothing":             {"ap-south", MethodReserve, nil, chat.CodeInvalid},
		"reserve cut off":             {"ap-south", MethodReserve, good[:len(good)-3], chat.CodeInvalid},
		"reserve in another format":   {"ap-south", MethodReserve, append([]byte{2}, good[1:]...), chat.CodeInvalid},
		"reserve with a long zone":    {"ap-south", MethodReserve, encodeClaim(long), chat.CodeInvalid},
		"release garbage":             {"ap-south", MethodRelease, []byte("{}"), chat.CodeInvalid},
		"look up a short key":         {"ap-south", MethodLookup, good[1:32], chat.CodeInvalid},
		"look up a long key":          {"ap-south", MethodLookup, good, chat.CodeInvalid},
		"a method that is not listed": {"ap-south", "mailbox.read", good, chat.CodeNotFound},
	} {
		if reply, err := at.handle(t.Context(), c.from, c.method, c.payload); chat.CodeOf(err) != c.want || reply != nil {
			t.Errorf("%s: %q, %v, want %s", name, reply, err, c.want)
		}
	}
	if _, found, _ := w.stores["eu-west"].Claim(t.Context(), ofIN.Key); found {
		t.Error("a refused claim is stored")
	}
	if held := w.held(t, ofEU); len(held) < 2 {
		t.Errorf("a refused release took effect: held by %v", held)
	}
	confirmed := ofIN // comes as pending and stamped here, whatever it says
	confirmed.Pending, confirmed.Version = false, 1
	if _, err := at.handle(t.Context(), "ap-south", MethodReserve, encodeClaim(confirmed)); err != nil {
		t.Fatal(err)
	}
	if stands, _, _ := w.stores["eu-west"].Claim(t.Context(), ofIN.Key); !stands.Pending || stands.Version != chat.HLCFromTime(w.clock()) {
		t.Errorf("the entry stands as %+v", stands)
	}
}

// Neither the name nor the user id stands in a claim, and who lacks the directory key gets neither from it.
func TestClaimsAreBlinded(t *testing.T) {
	w := newWorld(t, threeRegions)
	user := chat.UserID(uuid.New())
	d := w.regions["eu-west"]
	normalised := Normalise("Secret.Name")
	c := d.entry(normalised, user, "eu", chat.UUID(uuid.New()))
	bytesOf := encodeClaim(c)
	for _, leak := range [][]byte{user[:], []byte(normalised), []byte("Secret"), []byte(user.String())} {
		if bytes.Contains(bytesOf, leak) {
			t.Errorf("the claim holds %q", leak)
		}
	}
	other := Directory{key: DirectoryKey{8}}
	if other.claimKey(normalised) == c.Key || other.blind(normalised, c.Blinded) == user {
		t.Error("another key finds or opens the claim")
	}
	if d.blind(normalised, c.Blinded) != user {
		t.Error("the own key does not open the claim")
	}
}

// Slots are spread over the regions, and a new region takes over some without moving others.
func TestSlotOwners(t *testing.T) {
	more := threeRegions
	more.Regions = append([]chat.Region{"sa-east"}, threeRegions.Regions...)
	count := map[chat.Region]int{}
	for i := range 3000 {
		var key chat.ClaimKey
		key[0], key[1] = byte(i), byte(i>>8)
		before, after := claim.SlotOwner(threeRegions, key), claim.SlotOwner(more, key)
		count[before]++
		if after != before && after != "sa-east" {
			t.Fatalf("slot moved from %s to %s", before, after)
		}
	}
	for _, r := range threeRegions.Regions {
		if count[r] < 800 || count[r] > 1200 {
			t.Errorf("%s owns %d of 3000 slots", r, count[r])
		}
	}
}
