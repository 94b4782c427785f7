package chat_test

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"

	"meridian/chat"
)

func drawID(t *rapid.T, name string) (out [16]byte) {
	copy(out[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name))
	return out
}

func drawMessageID(t *rapid.T, name string) chat.MessageID {
	at := chat.HLC(rapid.Uint64Range(0, 1<<52).Draw(t, name+" time"))
	return chat.NewMessageID(at, drawID(t, name+" sender"), drawID(t, name+" client"))
}

// A message id gives back its time, is a version-1 UUID, and is the same for the same three arguments.
func TestMessageIDHoldsItsTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := chat.HLC(rapid.Uint64Range(0, 1<<52).Draw(t, "time"))
		sender, client := chat.UserID(drawID(t, "sender")), chat.ClientID(drawID(t, "client"))
		id := chat.NewMessageID(at, sender, client)
		if id.Time() != at || id[6]>>4 != 1 || id[8]>>6 != 2 || id != chat.NewMessageID(at, sender, client) {
			t.Fatalf("%s: time %d, want %d", id, id.Time(), at)
		}
	})
}

// Ord sorts as Compare does, later times come later, equal times go by the low bytes as signed ones, and Ord can be undone.
func TestMessageIDOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawMessageID(t, "a"), drawMessageID(t, "b")
		ao, bo := a.Ord(), b.Ord()
		if bytes.Compare(ao[:], bo[:]) != a.Compare(b) || a.Compare(b) != -b.Compare(a) || chat.MessageIDFromOrd(ao) != a {
			t.Fatalf("%s and %s", a, b)
		}
		if a.Time() != b.Time() && (a.Time() < b.Time()) != (a.Compare(b) < 0) {
			t.Fatalf("%s and %s are not in the order of their times", a, b)
		}
	})
	low, high := chat.NewMessageID(1, chat.UserID{}, chat.ClientID{}), chat.NewMessageID(1, chat.UserID{}, chat.ClientID{})
	low[9], high[9] = 0x80, 0x01 // -128 and 1
	if low.Compare(high) != -1 {
		t.Error("the low bytes are not compared as signed ones")
	}
}

// The text form reads back, in either case; what is no UUID is refused as invalid.
func TestUUIDText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := chat.UUID(drawID(t, "u"))
		for _, text := range []string{u.String(), string(bytes.ToUpper([]byte(u.String())))} {
			if back, err := chat.ParseUUID(text); err != nil || back != u {
				t.Fatalf("%q: %v %v", text, back, err)
			}
		}
	})
	for _, bad := range []string{"", "x", "6ba7b810-9dad-11d1-80b4-00c04fd430c", "6ba7b810x9dad-11d1-80b4-00c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430cg"} {
		if _, err := chat.ParseUUID(bad); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A direct conversation has one id, whoever starts it, and another for every other pair.
func TestDirectConversation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := chat.UserID(drawID(t, "a")), chat.UserID(drawID(t, "b")), chat.UserID(drawID(t, "c"))
		id := chat.DirectConversation(a, b)
		if id != chat.DirectConversation(b, a) || id[6]>>4 != 5 || (c != b && id == chat.DirectConversation(a, c)) {
			t.Fatalf("%s and %s: %s", a, b, id)
		}
	})
}

// The clock never gives a time twice or backwards, runs past what it observed, and a time too far ahead does not move it.
func TestHLCClock(t *testing.T) {
	now := time.UnixMicro(1_000_000_000)
	c := chat.HLCClock{MaxDrift: 500 * time.Millisecond}
	first := c.Next(now)
	if second := c.Next(now); second <= first {
		t.Fatalf("%d after %d", second, first)
	}
	if later := c.Next(now.Add(-time.Hour)); later <= first {
		t.Fatalf("the clock went back with the machine's: %d", later)
	}
	ahead := chat.HLCFromTime(now.Add(400 * time.Millisecond))
	if err := c.Observe(now, ahead); err != nil || c.Next(now) <= ahead {
		t.Fatalf("observed %d, then %d (%v)", ahead, c.Last(), err)
	}
	before := c.Last()
	if err := c.Observe(now, chat.HLCFromTime(now.Add(time.Second))); chat.CodeOf(err) != chat.CodeClockSkew || c.Last() != before {
		t.Fatalf("a time too far ahead: %v, clock %d → %d", err, before, c.Last())
	}
	c.Restore(before + 1000)
	if c.Next(now) <= before+1000 {
		t.Fatal("the clock stamps below its restored high-water mark")
	}
}
