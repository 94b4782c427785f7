package replication

import (
	"testing"
	"time"

	"meridian/chat"
)

// A region that speaks protocol version 1 is sent the kinds of op that it knows, in order; the stream waits at the first
// newer one, skips nothing, and goes on once the region is upgraded. Meanwhile new kinds are refused, to be tried again.
func TestOldProtocolWaits(t *testing.T) {
	for name, tail := range map[string]int{"from the tail": 100, "read back": 1} {
		r := newRig(t, "eu", Restored{})
		r.core.cfg.TailOps = tail
		us := chat.NodeRef{Region: "us", Node: "n1"}
		var ops []chat.Op
		for i := range 3 {
			op := testMessage("", 0, 0, i+1, "x")
			if i == 1 {
				op.Kind, op.Body = chat.OpChange, []byte("y")
				op.Change = &chat.Change{Kind: chat.ChangeEdit, Target: chat.NewMessageID(chat.HLCFromTime(testStart), op.Author.ID, op.Client)}
			}
			for _, s := range only[Submitted](r.settle(r.step(r.submit(uint64(i+1), op, 0)))) {
				if s.Err != nil {
					t.Fatalf("%s: op %d: %v", name, i+1, s.Err)
				}
				ops = append(ops, s.Op)
			}
		}
		sent := func(outs []Output) (seqs []uint64) {
			for i := 0; i < len(outs); i++ {
				switch out := outs[i].(type) {
				case ReadLog:
					outs = append(outs, r.step(LogRead{Stream: out.Stream, To: out.To, After: out.After, UpTo: out.UpTo, Ops: ops[out.After:out.UpTo]})...)
				case Send:
					for _, op := range out.Frame.Ops {
						if out.Peer == us {
							seqs = append(seqs, op.Seq)
						}
					}
				}
			}
			return seqs
		}
		r.step(PeerUp{Peer: us, Protocol: 1})
		at := Received{Peer: us, Frame: Frame{Kind: FramePosition, Stream: r.core.stream}}
		got := sent(r.step(at))
		for range 5 {
			r.now = r.now.Add(500 * time.Millisecond)
			got = append(got, sent(r.step(Tick{}))...)
		}
		if len(got) != 1 || got[0] != 1 {
			t.Fatalf("%s: an old peer was sent %v, want the first op alone", name, got)
		}
		refused := only[Submitted](r.step(r.submit(9, ops[1], 0)))
		if len(refused) != 1 || chat.CodeOf(refused[0].Err) != chat.CodeUpgradePending {
			t.Fatalf("%s: a change was answered %+v", name, refused)
		}
		r.step(PeerDown{Peer: us})
		r.step(PeerUp{Peer: us, Protocol: ProtocolNodes})
		at.Frame.UpTo = 1
		got = sent(r.step(at))
		r.now = r.now.Add(time.Second)
		if got = append(got, sent(r.step(Tick{}))...); len(got) != 2 || got[0] != 2 || got[1] != 3 {
			t.Fatalf("%s: after the upgrade %v was sent, want the other two", name, got)
		}
	}
}
