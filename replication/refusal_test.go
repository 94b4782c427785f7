package replication

import (
	"strings"
	"testing"
	"time"

	"meridian/chat"
)

// bring has the region's core receive ops of a stream of another, as one frame.
func (r *rig) bring(from chat.Region, ops ...chat.Op) []Output {
	last := &ops[len(ops)-1]
	return r.step(Received{Peer: chat.NodeRef{Region: from, Node: "n1"}, Frame: Frame{
		Kind: FrameBatch, Stream: last.Stream, After: ops[0].Seq - 1, UpTo: last.Seq, Watermark: last.Logged, Ops: ops,
	}})
}

// logged gives the ops that the writes among outs add to op logs.
func logged(outs []Output) (ops []chat.Op) {
	for _, w := range only[Write](outs) {
		for _, row := range w.Batch.Log {
			ops = append(ops, row.Op)
		}
	}
	return ops
}

// told gives what the writes among outs tell authors.
func told(outs []Output) (rows []chat.RefusalRow, inbox []chat.InboxRow) {
	for _, w := range only[Write](outs) {
		rows = append(rows, w.Batch.Refusals...)
		for _, row := range w.Batch.Inbox {
			if row.Kind == chat.InboxFailed {
				inbox = append(inbox, row)
			}
		}
	}
	return rows, inbox
}

// sent is a message of us that eu refuses, being too old for it, and eu's word of that.
func sent(t *testing.T) (us, eu *rig, op, word chat.Op) {
	t.Helper()
	us, eu = newRig(t, "us", Restored{}), newRig(t, "eu", Restored{})
	op = logged(us.settle(us.step(us.submit(1, testMessage("", 0, 0, 1, "secret"), 0))))[0]
	eu.core.cfg.Remember = time.Hour
	eu.now, us.now = eu.now.Add(2*time.Hour), us.now.Add(2*time.Hour)
	outs := eu.settle(eu.bring("us", op))
	words := logged(outs)
	w := only[Write](outs)
	if len(words) != 1 || len(w[0].Batch.DeadLetters) != 1 || len(w[0].Batch.Messages) > 0 || len(w[0].Batch.Applied) != 1 {
		t.Fatalf("eu wrote %+v", w)
	}
	return us, eu, op, words[0]
}

// What a region refuses for good is told to the author, through the region that brought it, in every region of the author's
// zone, once; and holds nothing of the text.
func TestRefusalIsTold(t *testing.T) {
	us, eu, op, word := sent(t)
	if len(word.Body) > 0 || len(word.To) != 1 || word.To[0] != "us" || word.Refused.Author.Name != "" || word.Refused.Code != chat.CodeTooOld {
		t.Fatalf("the word: %+v %+v", word, word.Refused)
	}
	outs := us.settle(us.bring("eu", word))
	ask := only[Prove](outs)
	if rows, _ := told(outs); len(ask) != 1 || len(rows) > 0 || ask[0].Of[0].Op != op.ID {
		t.Fatalf("before it has compared: %+v", outs)
	}
	outs = us.settle(us.step(Proved{ID: ask[0].ID, Ops: []chat.Op{op}, Told: make([][]chat.RefusalRow, 1)}))
	rows, inbox := told(outs)
	news := logged(outs)
	if len(rows) != 1 || len(inbox) != 1 || len(news) != 1 || len(only[Alarm](outs)) > 0 {
		t.Fatalf("us wrote %+v", only[Write](outs))
	}
	if r := rows[0]; r.Region != "eu" || r.Op != op.ID || r.Client != op.Client || r.Conversation != op.Conversation || r.Author != op.Author || r.Told != inbox[0].Op {
		t.Errorf("told %+v", r)
	}
	if inbox[0].Owner != op.Author.ID || inbox[0].Ref != op.ID {
		t.Errorf("shown %+v", inbox[0])
	}
	last := only[Write](outs)
	if final := last[len(last)-1].Batch; len(final.Applied) != 1 || len(final.DeadLetters) != 1 || final.DeadLetters[0].Op != op.ID {
		t.Errorf("with the position: %+v", final)
	}
	if rows, inbox := told(eu.settle(eu.bring("us", news[0]))); len(rows) != 1 || len(inbox) != 1 || rows[0].Told != news[0].ID {
		t.Errorf("eu, of the author's zone too, was told %+v", rows)
	}
	// The word comes again under another number, as from a region that had to begin anew.
	again := word
	again.Seq++
	ask = only[Prove](us.settle(us.bring("eu", again)))
	outs = us.settle(us.step(Proved{ID: ask[0].ID, Ops: []chat.Op{op}, Told: [][]chat.RefusalRow{rows}}))
	if rows, _ := told(outs); len(rows) > 0 {
		t.Errorf("told twice: %+v", rows)
	}
}

// A word that could not be compared is compared later, and the stream's position waits for it.
func TestRefusalWaitsForTheStore(t *testing.T) {
	us, _, op, word := sent(t)
	ask := only[Prove](us.settle(us.bring("eu", word)))
	outs := us.settle(us.step(Proved{ID: ask[0].ID, Err: &chat.Error{Code: chat.CodeRegionDegraded}}))
	if len(only[Prove](outs)) > 0 || len(only[Write](outs)) > 0 {
		t.Fatalf("at once: %+v", outs)
	}
	us.now = us.now.Add(pause)
	ask = only[Prove](us.settle(us.step(Tick{})))
	if len(ask) != 1 {
		t.Fatalf("asked %d times", len(ask))
	}
	outs = us.settle(us.step(Proved{ID: ask[0].ID, Ops: []chat.Op{op}, Told: make([][]chat.RefusalRow, 1)}))
	if rows, _ := told(outs); len(rows) != 1 {
		t.Fatalf("told %+v", rows)
	}
}

// Nobody can have another's message shown as refused: a forged word is kept out, told to the operator, and answered by nothing.
func TestForgedRefusals(t *testing.T) {
	_, _, op, word := sent(t)
	forge := func(f func(op *chat.Op)) chat.Op {
		w := word
		r := *word.Refused
		w.Refused = &r
		f(&w)
		return w
	}
	toOther := op
	toOther.To = []chat.Region{"in"}
	for name, c := range map[string]struct{ word, stored chat.Op }{
		"in another region's name":   {forge(func(w *chat.Op) { w.Refused.Region = "in" }), op},
		"of another region's stream": {forge(func(w *chat.Op) { w.Refused.Stream.Region = "in" }), op},
		"of what there is not":       {word, chat.Op{}},
		"of another id":              {forge(func(w *chat.Op) { w.Refused.Op = testID16(9) }), op},
		"of what it was not brought": {word, toOther},
		"that may pass":              {forge(func(w *chat.Op) { w.Refused.Code = chat.CodeBusy }), op},
		"with a long reason":         {forge(func(w *chat.Op) { w.Refused.Detail = strings.Repeat("x", maxRefusalDetail+1) }), op},
		"news of a foreign zone": {forge(func(w *chat.Op) {
			w.Author = testOwner(3, "deny")
			w.Owners, w.Refused.Author = []chat.Owner{w.Author}, w.Author
		}), op},
		"news for another": {forge(func(w *chat.Op) {
			w.Author = testOwner(1, "world")
			w.Owners, w.Refused.Author = []chat.Owner{testOwner(2, "world")}, w.Author
		}), op},
	} {
		us := newRig(t, "us", Restored{})
		us.now = us.now.Add(2 * time.Hour)
		outs := us.settle(us.bring("eu", c.word))
		for _, ask := range only[Prove](outs) {
			outs = append(outs, us.settle(us.step(Proved{ID: ask.ID, Ops: []chat.Op{c.stored}, Told: make([][]chat.RefusalRow, 1)}))...)
		}
		if rows, inbox := told(outs); len(rows)+len(inbox) > 0 || len(logged(outs)) > 0 {
			t.Errorf("%s: told %+v, logged %+v", name, rows, logged(outs))
		}
		alarms := only[Alarm](outs)
		if len(alarms) != 1 || !alarms[0].Buried {
			t.Errorf("%s: alarms %+v", name, alarms)
		}
		letters, applied := 0, 0
		for _, w := range only[Write](outs) {
			letters += len(w.Batch.DeadLetters)
			for _, row := range w.Batch.Applied {
				if row.Seq > 0 {
					applied++
				}
			}
		}
		if letters != 1 || applied != 1 {
			t.Errorf("%s: %d dead letters, %d positions", name, letters, applied)
		}
	}
}

// testID16 is an id with a time that no op of the tests has.
func testID16(n byte) chat.MessageID {
	return chat.NewMessageID(chat.HLCFromTime(testStart), chat.UserID{n}, chat.ClientID{n})
}

// A region that brings bad ops without end fills nobody's disk: what goes beyond the allowance is counted only, and the
// allowance comes back with time.
func TestRefusalsAreBounded(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	at := chat.HLCFromTime(testStart)
	seq := uint64(0)
	flood := func(n int) (letters, words, alarms int) {
		for range n / 100 {
			ops := make([]chat.Op, 100)
			for i := range ops {
				seq++
				ops[i] = testMessage("us", seq, at, int(seq), "x")
				ops[i].Body = []byte("another text")
			}
			outs := r.settle(r.bring("us", ops...))
			for _, w := range only[Write](outs) {
				letters += len(w.Batch.DeadLetters)
			}
			words += len(logged(outs))
			alarms += len(only[Alarm](outs))
		}
		return letters, words, alarms
	}
	if letters, words, alarms := flood(5000); letters != refusalBurst || words != refusalBurst || alarms != 5000 {
		t.Fatalf("%d dead letters, %d words, %d alarms", letters, words, alarms)
	}
	r.now = r.now.Add(10 * refusalEvery)
	if letters, words, _ := flood(100); letters != 10 || words != 10 {
		t.Fatalf("after ten more: %d dead letters, %d words", letters, words)
	}
}

// Only what is remembered can come twice without harm: a message older than that is refused for good, a mark is not.
func TestTooOldIsRefused(t *testing.T) {
	r := newRig(t, "eu", Restored{})
	r.core.cfg.Remember = time.Hour
	at := chat.HLCFromTime(testStart.Add(-time.Hour - time.Second))
	old := testMessage("us", 1, at, 1, "x")
	old.Logged = chat.HLCFromTime(testStart) // logged anew lately: that makes it no younger
	mark := testMessage("us", 2, at, 2, "")
	mark.Kind, mark.Body = chat.OpMark, nil
	mark.Mark = &chat.Mark{Conversation: mark.Conversation, User: mark.Author.ID, Kind: chat.MarkRead, UpTo: old.ID}
	mark.Logged = old.Logged
	young := testMessage("us", 3, chat.HLCFromTime(testStart.Add(-time.Hour)), 3, "y")
	young.Logged = old.Logged
	w := only[Write](r.settle(r.bring("us", old, mark, young)))
	if b := w[0].Batch; len(b.DeadLetters) != 1 || b.DeadLetters[0].Reason != chat.CodeTooOld || len(b.Marks) == 0 || len(b.Messages) == 0 || b.Messages[0].ID != young.ID {
		t.Fatalf("written %+v", b)
	}
}
