package replication

import (
	"slices"
	"testing"
	"time"

	"meridian/chat"
)

// pickyStore answers the writes of a core that receives, and sends again what it asks for.
type pickyStore struct {
	*rig
	refuses func(b *chat.Batch) *chat.Error
	ops     []chat.Op
	stored  []chat.Batch
	writes  int
}

// run lets time pass; whenever the core states its position, the ops after it come again.
func (s *pickyStore) run(d time.Duration) {
	outs := s.bring("us", s.ops...)
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(50 * time.Millisecond) {
		outs = append(outs, s.step(Tick{})...)
		for len(outs) > 0 {
			switch out := outs[0].(type) {
			case Write:
				s.writes++
				if err := s.refuses(out.Batch); err != nil {
					outs = append(outs, s.step(Written{Write: out.ID, Err: err})...)
				} else {
					s.stored = append(s.stored, *out.Batch)
					outs = append(outs, s.step(Written{Write: out.ID})...)
				}
			case Send:
				if f := out.Frame; f.Kind == FramePosition && f.UpTo < s.ops[len(s.ops)-1].Seq {
					rest := s.ops[slices.IndexFunc(s.ops, func(op chat.Op) bool { return op.Seq > f.UpTo }):]
					outs = append(outs, s.bring("us", rest...)...)
				}
			}
			outs = outs[1:]
		}
	}
}

// bodies gives the texts stored, and buried the dead letters.
func (s *pickyStore) bodies() (texts []string, buried []uint64) {
	for _, b := range s.stored {
		for i := range b.Messages {
			texts = append(texts, string(b.Messages[i].Body))
		}
		for i := range b.DeadLetters {
			buried = append(buried, b.DeadLetters[i].Seq)
		}
	}
	slices.Sort(texts)
	return slices.Compact(texts), buried
}

func newPicky(t *testing.T, n int, refuses func(b *chat.Batch) *chat.Error) *pickyStore {
	s := &pickyStore{rig: newRig(t, "eu", Restored{}), refuses: refuses}
	s.step(PeerUp{Peer: chat.NodeRef{Region: "us", Node: "n1"}})
	for i := 1; i <= n; i++ {
		text := "good"
		if i == n/2+1 {
			text = "poison"
		}
		s.ops = append(s.ops, testMessage("us", uint64(i), chat.HLCFromTime(testStart)+chat.HLC(i), i, text))
	}
	return s
}

// holding makes a store that refuses batches with a message of that text.
func holding(code chat.Code) func(b *chat.Batch) *chat.Error {
	return func(b *chat.Batch) *chat.Error {
		for i := range b.Messages {
			if string(b.Messages[i].Body) == "poison" {
				return &chat.Error{Code: code, Message: "no"}
			}
		}
		return nil
	}
}

// One op that the store refuses for good is found among the others, buried and told to who brought it; everything else is
// stored, and the position passes it.
func TestPoisonIsFound(t *testing.T) {
	for _, n := range []int{1, 2, 7, 100} {
		at := uint64(n/2 + 1)
		s := newPicky(t, n, holding(chat.CodeTooLarge))
		s.run(20 * time.Second)
		texts, buried := s.bodies()
		if n > 1 && !slices.Equal(texts, []string{"good"}) || !slices.Equal(buried, []uint64{at}) {
			t.Fatalf("of %d: stored %q, buried %v", n, texts, buried)
		}
		words := 0
		for _, b := range s.stored {
			for i := range b.Log {
				if r := b.Log[i].Op.Refused; r != nil && r.Seq == at && r.Code == chat.CodeTooLarge {
					words++
				}
			}
		}
		if words != 1 || s.core.peers["us"].inbound(s.ops[0].Stream).durable != uint64(n) {
			t.Fatalf("of %d: %d words, position %d", n, words, s.core.peers["us"].inbound(s.ops[0].Stream).durable)
		}
		if most := s.core.peers["us"].inbound(s.ops[0].Stream).suspect; most.seq != 0 {
			t.Fatalf("of %d: still suspected: %+v", n, most)
		}
		t.Logf("of %d: %d writes", n, s.writes)
	}
}

// Where one op that the store refuses for good follows another, the batches stay small: the whole is not halved anew for each.
func TestPoisonInARow(t *testing.T) {
	const n, poisoned = 64, 8
	s := newPicky(t, n, nil)
	for i := range poisoned {
		op := &s.ops[n/2+i]
		*op = testMessage("us", op.Seq, op.Time, n/2+1+i, "poison")
	}
	refused, holds := 0, holding(chat.CodeTooLarge)
	s.refuses = func(b *chat.Batch) *chat.Error {
		err := holds(b)
		if err != nil {
			refused++
		}
		return err
	}
	s.run(time.Minute)
	if _, buried := s.bodies(); len(buried) != poisoned {
		t.Fatalf("buried %v", buried)
	}
	// Halving 64 down to one takes seven; each op is refused alone buryTries times, and once more with the one beside it.
	if most := 7 + poisoned*(buryTries+1); refused > most {
		t.Fatalf("the store had to refuse %d batches, want at most %d", refused, most)
	}
	t.Logf("refused %d batches", refused)
}

// What a store refuses for now is never buried, however often; and the stream goes on when it takes it.
func TestPassingRefusalIsNoPoison(t *testing.T) {
	for _, code := range []chat.Code{chat.CodeBusy, chat.CodeRegionDegraded, chat.CodeStoreFull, chat.CodeUnknownOutcome, chat.CodeInternal} {
		s := newPicky(t, 6, holding(code))
		s.run(30 * time.Second)
		if _, buried := s.bodies(); len(buried) > 0 {
			t.Fatalf("%s: buried %v", code, buried)
		}
		s.refuses = func(*chat.Batch) *chat.Error { return nil }
		s.run(10 * time.Second)
		texts, buried := s.bodies()
		if len(buried) > 0 || !slices.Equal(texts, []string{"good", "poison"}) {
			t.Fatalf("%s: then stored %q, buried %v", code, texts, buried)
		}
	}
}

// A store that refuses everything for good, whatever is in it, has nothing buried: the stream waits for an operator.
func TestDefectBuriesNothing(t *testing.T) {
	s := newPicky(t, 6, func(b *chat.Batch) *chat.Error {
		if len(b.Applied) > 0 {
			return &chat.Error{Code: chat.CodeInvalid}
		}
		return nil
	})
	s.run(30 * time.Second)
	if texts, buried := s.bodies(); len(texts)+len(buried) > 0 {
		t.Fatalf("stored %q, buried %v", texts, buried)
	}
}
