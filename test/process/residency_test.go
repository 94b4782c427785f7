package process

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	meridian "meridian/sdk/go"
	"meridian/test/canary"
	"meridian/test/cluster"
	"meridian/test/history"
)

// pinned is one pinned person, with a canary in each field.
type pinned struct {
	*member
	home    chat.Region
	display string
	texts   []string
}

// secret gives 128 random bits as a word that no look-alike table changes.
func secret(t *testing.T) string {
	t.Helper()
	const letters = "abcdefghkmpqstwx"
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	var word strings.Builder
	for _, c := range b {
		word.WriteByte(letters[c>>4])
		word.WriteByte(letters[c&15])
	}
	return word.String()
}

// With bodies in the clear, nothing that a pinned person wrote, is called, or is known by lies on a disk outside the zone:
// neither of one whose zone keeps others from even handling it, nor of one who is served through another region.
func TestPinnedBytesStayAtHome(t *testing.T) { residency(t, false) }

// With bodies sealed no id lies outside either, and what was written lies nowhere in the clear, not even at home.
func TestSealedBytesStayAtHome(t *testing.T) { residency(t, true) }

func residency(t *testing.T, sealed bool) {
	c := start(t, func(cfg *config.Config) {
		cfg.Security.SealBodies = &sealed
		cfg.Telemetry.LogLevel, cfg.Telemetry.Traces = "debug", "log" // what a log says at its loudest counts too
	})
	var people []*pinned
	for _, p := range []struct {
		zone       chat.Zone
		home, near chat.Region
	}{
		{"in", "ap-south", "ap-south"}, {"in", "ap-south", "ap-south"}, // transit: deny
		{"eu", "eu-west", "us-east"}, {"eu", "eu-west", "ap-south"}, // served through other regions
	} {
		people = append(people, joinPinned(t, c, p.zone, p.home, p.near))
	}
	waitUntil(t, patience, "everybody is connected", func() bool { // a client without a cursor begins at its welcome
		for _, p := range people {
			if region, _ := p.served(); region == "" {
				return false
			}
		}
		return true
	})
	for i, p := range people {
		p.chat(t, people[i^1])
	}
	t.Cleanup(func() {
		for i, p := range people {
			if t.Failed() {
				t.Log(p.state(people[i^1].texts))
			}
		}
	})
	waitUntil(t, patience, "everybody has got every text", func() bool {
		for i, p := range people {
			if !p.has(people[i^1].texts) || len(p.client.Pending()) > 0 {
				return false
			}
		}
		return true
	})
	time.Sleep(2 * time.Second) // marks and receipts are gathered for a moment, then written
	search(t, c, people, sealed)
	for _, r := range c.Config.Regions {
		c.Stop(r.Name) // what was in memory is on disk then
	}
	search(t, c, people, sealed)
}

// joinPinned signs somebody up whose names are canaries.
func joinPinned(t *testing.T, c *cluster.Cluster, zone chat.Zone, home, near chat.Region) *pinned {
	t.Helper()
	p := &pinned{home: home, display: secret(t)}
	p.member = joinAs(t, c, secret(t), p.display, zone, near)
	return p
}

// chat does what people do: texts, answers, read marks, typing, a contact, a look at the list.
func (p *pinned) chat(t *testing.T, peer *pinned) {
	t.Helper()
	for range 20 {
		text := secret(t)
		p.texts = append(p.texts, text)
		if err := p.say(peer.member, text); err != nil {
			t.Fatal(err)
		}
	}
	err := patiently(t.Context(), func() error {
		api, err := p.client.API()
		if err == nil {
			_, err = api.PutContact(t.Context(), peer.name)
		}
		if err == nil {
			_, _, err = api.Conversations(t.Context(), "", 10)
		}
		return err
	})
	if err != nil {
		t.Errorf("contact and conversations: %v", err)
	}
	conversation := meridian.DirectConversation(p.id, peer.id)
	p.client.Typing(conversation)
	p.mu.Lock()
	last := p.newest[peer.id]
	p.mu.Unlock()
	if last.ID != "" {
		p.client.MarkRead(conversation, last.ID)
	}
}

// has says whether the texts were shown to p.
func (p *pinned) has(texts []string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(texts, func(text string) bool { return !p.shown[text] })
}

// state says what a person's client holds, for a failure's report.
func (p *pinned) state(texts []string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var missing []int
	for i, text := range texts {
		if !p.shown[text] {
			missing = append(missing, i)
		}
	}
	return fmt.Sprintf("%s of %s: of %d texts not shown %v, in view %d, pending %d, served by %q, connects %d, resets %d, refusals %v",
		p.id, p.home, len(texts), missing, len(p.view), len(p.client.Pending()), p.region, p.connects, p.resets, p.refusals)
}

// search looks for every canary of every person in all data, logs and metrics, and judges by region.
func search(t *testing.T, c *cluster.Cluster, people []*pinned, sealed bool) {
	t.Helper()
	planted(t)
	for _, p := range people {
		bodies, names, ids := p.canaries(t)
		for _, r := range c.Config.Regions {
			inBodies, inNames, inIDs := find(t, bodies, c, r.Name), find(t, names, c, r.Name), find(t, ids, c, r.Name)
			if r.Name != p.home {
				report(t, fmt.Sprintf("of a person of zone %s in %s", p.zone, r.Name), inBodies, inNames, inIDs)
				continue
			}
			if sealed {
				report(t, "text in the clear at home, although bodies are sealed:", inBodies)
			} else if len(inBodies) == 0 {
				t.Errorf("no text of zone %s is found at home in %s: the search proves nothing", p.zone, r.Name)
			}
			if len(inIDs) == 0 || len(inNames) == 0 {
				t.Errorf("%d ids and %d names of zone %s are found at home in %s: the search proves nothing", len(inIDs), len(inNames), p.zone, r.Name)
			}
		}
	}
}

// canaries gives what is looked for of one person.
func (p *pinned) canaries(t *testing.T) (bodies, names, ids *canary.Set) {
	t.Helper()
	bodies, names, ids = &canary.Set{}, &canary.Set{}, &canary.Set{}
	for _, text := range p.texts {
		bodies.Add("text", []byte(text))
	}
	names.Add("username", []byte(p.name))
	names.Add("display name", []byte(p.display))
	add := func(name, text string) {
		id, err := chat.ParseUUID(text)
		if err != nil {
			t.Fatalf("%s %q: %v", name, text, err)
		}
		ids.AddID(name, id, text)
	}
	add("user id", p.id)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sends {
		if s.Outcome != history.Acked {
			continue
		}
		add("message id", s.AckedID)
		add("client id", s.ClientID)
		id, err := chat.ParseUUID(s.AckedID)
		if err != nil {
			t.Fatal(err)
		}
		sorted := chat.MessageID(id).Ord() // as keys hold it
		ids.Add("message id (in order)", sorted[:])
		for i := range sorted {
			sorted[i] = ^sorted[i]
		}
		ids.Add("message id (newest first)", sorted[:])
	}
	return bodies, names, ids
}

// find searches one region's data and log.
func find(t *testing.T, set *canary.Set, c *cluster.Cluster, region chat.Region) []canary.Hit {
	t.Helper()
	r, err := set.Dir(c.DataDir(region))
	if err != nil {
		t.Fatal(err)
	}
	if r.Files == 0 || r.Records+r.Rows == 0 {
		t.Fatalf("%s: %d files, %d records and %d rows were read: nothing was searched", region, r.Files, r.Records, r.Rows)
	}
	log, err := os.ReadFile(c.LogFile(region))
	if err != nil {
		t.Fatal(err)
	}
	return append(r.Hits, set.In(log, "the log of "+string(region))...)
}

// report names what was found where it must not be.
func report(t *testing.T, what string, found ...[]canary.Hit) {
	t.Helper()
	const shown = 10
	for _, hits := range found {
		for i, h := range hits {
			if i == shown {
				t.Errorf("%s: and %d more", what, len(hits)-shown)
				break
			}
			t.Errorf("%s: %s at %s", what, h.Name, h.Where)
		}
	}
}

// planted proves the search: a canary in each encoding, laid beside the data, must be found.
func planted(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	text := secret(t)
	var id [16]byte
	copy(id[:], text)
	for name, plant := range map[string]string{
		"binary": string(id[:]), "text": chat.UUID(id).String(), "hex": hex.EncodeToString(id[:]),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("xx"+plant+"xx"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var set canary.Set
	set.AddID("planted", id, chat.UUID(id).String())
	r, err := set.Dir(dir)
	if err != nil || len(r.Hits) < 3 {
		t.Fatalf("the search finds %d of 3 planted canaries (%v): it proves nothing", len(r.Hits), err)
	}
}
