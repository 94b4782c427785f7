package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A mutant takes one mechanism out of the replication core, as an edit of its source that exists only while the test runs.
type mutant struct {
	name  string
	file  string
	edits []string // old, new, old, new …; each old stands in the file exactly once
}

var mutants = []mutant{
	{"ack to the client before durable", "submit.go", []string{
		"	own := c.own.start(op)\n", "	own := c.own.start(op)\n	c.answer(now, h, Submitted{Op: op})\n",
		"			c.answer(now, h, Submitted{Op: op})\n		},", "		},",
		"			if err != nil {\n				c.answer(now, h, Submitted{Err: err})\n				return\n			}\n", "",
	}},
	{"ack to the peer on receipt", "receiver.go", []string{
		"	if f.UpTo > f.After && f.UpTo <= s.durable {\n		c.ack(p, s) // its ack may be lost\n	}\n", "	c.ack(p, s)\n",
		"UpTo: s.durable}})\n}\n\n// drainPeer", "UpTo: s.accepted}})\n}\n\n// drainPeer",
	}},
	{"watermark on receipt, not after the durable apply", "receiver.go", []string{
		"	s.enqueue(fr)\n", "	s.enqueue(fr)\n	s.watermark = max(s.watermark, fr.watermark)\n",
	}},
	{"watermark when durable, though Local does not cover it", "receiver.go", []string{
		"	s.durable = max(s.durable, d.upTo)\n	s.next = max(s.next, d.watermark)\n	c.ack(p, s)\n",
		"	s.durable = max(s.durable, d.upTo)\n	s.next = max(s.next, d.watermark)\n	s.watermark = s.next\n	c.ack(p, s)\n",
	}},
	{"cursor = largest arrival seen", "cursor.go", []string{
		"		r.after = max(r.after, rows[i].Arrival)\n", "		r.after = max(r.after, rows[i].Arrival)\n		r.global = r.after\n",
	}},
	{"applying does not push the clock", "receiver.go", []string{"	_ = c.clock.Observe(now, it.op.Logged)\n", ""}},
	{"own writes in flight ignored in Local", "marks.go", []string{"	if len(c.flight) > 0 {", "	if len(c.flight) > 1<<30 {"}},
	{"sent watermark ignores writes in flight", "marks.go", []string{"	if len(c.own.flight) > 0 {", "	if len(c.own.flight) > 1<<30 {"}},
	{"Global leaves out one origin", "marks.go", []string{"range c.order {", "range c.order[1:] {"}},
	{"receiver without retry map", "receiver.go", []string{"known = c.sends.known(key, it.known)", "known = nil"}},
	{"the largest id wins", "apply.go", []string{"id.Compare(winner) < 0", "id.Compare(winner) > 0"}},
	{"after ignored", "submit.go", []string{"	if h.in.Previous != chat.NoClient {", "	if false {"}},
	{"zone ack when the frame left", "sender.go", []string{"	p.sent, p.sentAt = upTo, now\n", "	p.sent, p.sentAt = upTo, now\n	c.zoneAcked(p.region, upTo)\n"}},
	{"two applies of one stream under way", "receiver.go", []string{"	if s.applying || len(s.queue) == 0 {", "	if len(s.queue) == 0 {"}},
	{"two writes of one send under way", "held.go", []string{"	return ok && st.busy\n", "	return ok && st.busy && false\n"}},
	{"a failure after doubt settles", "writes.go", []string{"(w.doubtful || chat.CodeOf(in.Err) == chat.CodeUnknownOutcome)", "chat.CodeOf(in.Err) == chat.CodeUnknownOutcome"}},
	{"unknown outcome taken for failed", "writes.go", []string{"	if in.Err != nil && (w.doubtful", "	if false && (w.doubtful"}},
	{"a restart forgets the high-water mark", "core.go", []string{"	c.clock.Restore(id.HighWater)\n", ""}},
	{"a log read overtaken by an ack is sent whole", "sender.go", []string{"ops[0].Seq <= p.sent {", "ops[0].Seq == 0 {"}},
	{"failed sequences are told to peers", "own.go", []string{"		if o.failed {\n			continue\n		}\n		l.settled = o.op.Seq\n", "		l.settled = o.op.Seq\n		if o.failed {\n			continue\n		}\n"}},
	{"resume from the sender's memory", "sender.go", []string{"	p.rewind(now, upTo)\n	p.sentAt", "	p.rewind(now, max(upTo, p.sent))\n	p.sentAt"}},
	{"the sender's residency is not asked", "submit.go", []string{"if d := residency.Write(c.cfg.Topology, op.Author.Zone, owner.Zone); !d.Allowed() {", "if d := residency.Write(c.cfg.Topology, op.Author.Zone, owner.Zone); false {"}},
}

// huntSeeds is how many seeds a mutant may survive.
const huntSeeds = 120

var hunt = flag.Int("hunt", 0, "run so many seeds and print the first violation as JSON; used by TestMutants in a copy of this test")

// With -hunt the first seed that breaks a promise is printed; without, there is nothing to do.
func TestHunt(t *testing.T) {
	if *hunt == 0 {
		t.Skip("only in the copies that TestMutants makes")
	}
	res := Run(Options{Seeds: *hunt, FirstSeed: 1, StopAtFirst: true})
	b, err := json.Marshal(res.Violations)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nhunt: %s\n", b)
}

// Each mechanism is needed: without it some world breaks a promise. A checker that never failed would prove nothing.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the test once for each mutant")
	}
	core, err := filepath.Abs("../replication")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			found := m.run(t, core)
			if len(found) == 0 {
				t.Fatalf("survived %d seeds", huntSeeds)
			}
			t.Logf("seed %d: %s: %s", found[0].Seed, found[0].Promise, found[0].Detail)
		})
	}
}

// run builds this test with the mutant in place of the source, and hunts.
func (m mutant) run(t *testing.T, core string) []Violation {
	dir := t.TempDir()
	original := filepath.Join(core, m.file)
	src, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for i := 0; i < len(m.edits); i += 2 {
		if n := strings.Count(text, m.edits[i]); n != 1 {
			t.Fatalf("%q stands %d times in %s, want once: adapt the mutant to the source", m.edits[i], n, m.file)
		}
		text = strings.Replace(text, m.edits[i], m.edits[i+1], 1)
	}
	changed, overlay, binary := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{changed: []byte(text), overlay: replace} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	out, err := exec.Command(binary, "-test.run=^TestHunt$", fmt.Sprintf("-hunt=%d", huntSeeds)).CombinedOutput()
	if strings.Contains(string(out), "\npanic:") {
		return []Violation{{Promise: "the core panics"}}
	}
	_, line, ok := strings.Cut(string(out), "\nhunt: ")
	if !ok || err != nil {
		t.Fatalf("hunt: %v\n%s", err, out)
	}
	line, _, _ = strings.Cut(line, "\n")
	var found []Violation
	if err := json.Unmarshal([]byte(line), &found); err != nil {
		t.Fatal(err)
	}
	return found
}
