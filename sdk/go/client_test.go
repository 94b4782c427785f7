package meridian

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A send is kept until the zone has it: what only a region has acknowledged is sent again elsewhere, in order, each naming the
// one before it.
func TestSendIsKeptUntilTheZoneHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var again []frame
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			one, two := p.next(), p.next()
			p.ack(one, first, "region")
			p.ack(two, second, "region")
			p.ack(one, first, "zone")
			// the region dies
		}, nil)
		w.serve("b", func(p *peer) {
			p.welcome("b", nil)
			for range 2 {
				f := p.next()
				again = append(again, f)
				p.ack(f, second, "region")
				p.ack(f, second, "zone")
			}
			p.drain()
		}, nil)
		c, events, stop := w.run(Options{}, "a", "b")
		ids := make([]string, 3)
		for i := range 2 {
			ids[i], _ = c.Send(Outgoing{ToUser: "grace", Text: "m"})
		}
		want[Disconnected](t, events)
		ids[2], _ = c.Send(Outgoing{ToUser: "grace", Text: "m3"})
		for final := 0; final < 2; {
			if want[Acked](t, events).Final {
				final++
			}
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
		if len(c.Pending()) != 0 {
			t.Errorf("still pending: %v", c.Pending())
		}
		if again[0]["client_id"] != ids[1] || again[0]["after"] != nil || again[1]["client_id"] != ids[2] || again[1]["after"] != ids[1] {
			t.Errorf("region b got %v", again)
		}
	})
}

// A silent region is pinged after 3 s and given up after 6 s; the next endpoint serves within a second of that.
func TestSilentRegionIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var pinged, served time.Duration
		start := time.Now()
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			var f frame
			_ = p.conn.ReadJSON(&f)
			pinged = time.Since(start)
			if f["t"] != "ping" {
				t.Errorf("got %v, want a ping", f)
			}
			_ = p.conn.ReadJSON(&f) // says nothing more
		}, nil)
		w.serve("b", func(p *peer) {
			p.welcome("b", nil)
			served = time.Since(start)
			p.drain()
		}, nil)
		_, events, stop := w.run(Options{}, "a", "b")
		want[Connected](t, events)
		if e := want[Disconnected](t, events); CodeOf(e.Err) != CodeHeartbeatTimeout {
			t.Errorf("ended with %v", e.Err)
		}
		want[Connected](t, events)
		_ = stop()
		if pinged != 3*time.Second || served < 6*time.Second || served > 7*time.Second {
			t.Errorf("pinged after %v, served elsewhere after %v", pinged, served)
		}
	})
}

// However long everything was away before: who loses a link that held for some seconds is served elsewhere within two, not after
// a wait that has grown.
func TestBackOffEndsWithALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start, away := time.Now(), 30*time.Second
		var lost, served time.Duration
		refuse := func(p *peer) bool {
			if time.Since(start) < away {
				p.close(1011, "away")
				return true
			}
			return false
		}
		w.serve("a", func(p *peer) {
			if refuse(p) || lost > 0 {
				return
			}
			p.welcome("a", nil)
			time.Sleep(4 * time.Second)
			lost = time.Since(start)
			p.close(1011, "dies")
		}, nil)
		w.serve("b", func(p *peer) {
			if refuse(p) || lost == 0 {
				p.close(1011, "away")
				return
			}
			p.welcome("b", nil)
			served = time.Since(start)
			p.drain()
		}, nil)
		_, events, stop := w.run(Options{Random: func() float64 { return 0.99 }}, "a", "b")
		for {
			if e := want[Connected](t, events); e.Region == "b" {
				break
			}
		}
		_ = stop()
		if lost < away || served-lost > 2*time.Second {
			t.Errorf("lost after %v, served elsewhere %v later", lost, served-lost)
		}
	})
}

// A client that nobody looks at pings every 25 s only, and is not given up when it wakes after a long silence.
func TestIdleClientIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var pings atomic.Int32
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			for {
				var f frame
				if p.conn.ReadJSON(&f) != nil {
					return
				}
				switch f["t"] {
				case "ping":
					pings.Add(1)
					p.send(frame{"t": "pong", "cursor": "idle"})
				case "send":
					time.Sleep(2 * time.Second)
					p.ack(f, first, "zone")
				}
			}
		}, nil)
		c, events, stop := w.run(Options{}, "a")
		c.SetVisible(false)
		want[Connected](t, events)
		time.Sleep(99 * time.Second)
		if n := pings.Load(); n != 3 || c.Cursor() != "idle" {
			t.Errorf("%d pings in 99 s, cursor %q", n, c.Cursor())
		}
		if _, err := c.Send(Outgoing{ToUser: "grace", Text: "hello"}); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		_ = stop()
		acked := false
		for len(events) > 0 {
			switch e := (<-events).(type) {
			case Acked:
				acked = true
			case Disconnected:
				t.Errorf("disconnected: %v", e.Err)
			}
		}
		if !acked {
			t.Error("the send was not acknowledged")
		}
	})
}

// What comes twice is given once; the cursor of the repeat counts all the same, and the next link resumes from it.
func TestRepeatsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var hello frame
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			p.send(messageFrame(first, "k1", "one", "c1"))
			p.send(messageFrame(first, "k1", "one", "c2"))
		}, nil)
		w.serve("b", func(p *peer) {
			p.welcome("b", frame{"cursor": "later than what was missed"})
			// and dies before it has sent anything
		}, nil)
		w.serve("c", func(p *peer) {
			hello = p.welcome("c", nil)
			p.send(messageFrame(first, "k1", "one", "c2"))
			p.send(messageFrame(second, "k2", "two", "c3"))
			p.drain()
		}, nil)
		c, events, stop := w.run(Options{}, "a", "b", "c")
		one, two := want[Received](t, events), want[Received](t, events)
		_ = stop()
		if one.Message.ID != first || one.Cursor != "c1" || two.Message.ID != second || two.Message.Text != "two" {
			t.Errorf("got %+v then %+v", one, two)
		}
		if hello["resume"] != "c2" || c.Cursor() != "c3" {
			t.Errorf("resumed from %v, stands at %v", hello["resume"], c.Cursor())
		}
	})
}

// An ack names the message also where it was edited before, so that it was read under a text that nobody sent.
func TestAckOfAnEditedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			sent := p.next()
			edited := messageFrame(first, sent["client_id"].(string), "edited", "c1")
			edited["message"].(frame)["sender"] = frame{"id": "u-me", "username": "ada"}
			p.send(edited)
			p.ack(sent, first, "zone")
			p.drain()
		}, nil)
		c, events, stop := w.run(Options{}, "a")
		if _, err := c.Send(Outgoing{ToUser: "grace", Text: "as it was"}); err != nil {
			t.Fatal(err)
		}
		if acked := want[Acked](t, events); acked.MessageID != first {
			t.Errorf("acknowledged as %q, not as %s", acked.MessageID, first)
		}
		_ = stop()
	})
}

// Two ids of one send are one message, whether the alias or the message with the winning id comes first.
func TestAliasesBecomeOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			alias := func(client, from, to string) frame {
				return frame{"t": "alias", "cursor": "c", "conversation_id": talk, "client_id": client, "from": from, "to": to}
			}
			p.send(messageFrame(third, "k1", "one", "c1"))
			p.send(alias("k1", third, first))
			p.send(messageFrame(first, "k1", "one", "c2"))
			fourth := "00000004-4a01-11f1-8000-000000000001"
			p.send(messageFrame(fourth, "k2", "two", "c3"))
			p.send(messageFrame(second, "k2", "two", "c4"))
			p.send(alias("k2", fourth, second))
			p.send(messageFrame("00000005-4a01-11f1-8000-000000000001", "k2", "two", "c5"))
			p.send(messageFrame("00000007-4a01-11f1-8000-000000000001", "k3", "three", "c6"))
			p.send(messageFrame("00000006-4a01-11f1-8000-000000000001", "k3", "three", "c7")) // its alias is still to come
			p.drain()
		}, nil)
		_, events, stop := w.run(Options{}, "a")
		time.Sleep(time.Second)
		_ = stop()
		received, aliases := 0, []string{}
		for len(events) > 0 {
			switch e := (<-events).(type) {
			case Received:
				received++
			case Aliased:
				aliases = append(aliases, e.ClientID+e.To)
			}
		}
		if received != 3 || !slices.Equal(aliases, []string{"k1" + first, "k2" + second, "k3" + "00000006-4a01-11f1-8000-000000000001"}) {
			t.Errorf("%d messages, aliases %v", received, aliases)
		}
	})
}

// After a reset the conversations are read anew, and the new cursor counts only when that is done: a link lost meanwhile is
// resumed from the old one.
func TestResetIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var resumes []any
		reads := 0
		w.serve("a", func(p *peer) {
			hello := p.welcome("a", frame{"reset": true, "cursor": "new"})
			resumes = append(resumes, hello["resume"])
			p.send(messageFrame(third, "k3", "three", "newer"))
			p.drain()
		}, func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer token" {
				t.Errorf("%s without a token", r.URL)
			}
			switch r.URL.RequestURI() {
			case "/v1/conversations?limit=100":
				if reads++; reads == 1 {
					answer(rw, 503, frame{"code": "busy", "retryable": true})
					return
				}
				answer(rw, 200, frame{"conversations": []frame{{"id": talk, "kind": "direct"}}})
			case "/v1/conversations/" + talk + "/messages?limit=100":
				answer(rw, 200, frame{"messages": []frame{messageJSON(third, "k3", "three"), messageJSON(second, "k2", "two")}, "next": "n"})
			case "/v1/conversations/" + talk + "/messages?before=n&limit=98":
				synctest.Wait() // the message with the newer cursor has come, while this is still being read
				answer(rw, 200, frame{"messages": []frame{messageJSON(first, "k1", "one")}})
			default:
				t.Errorf("asked for %s", r.URL)
			}
		})
		c, events, stop := w.run(Options{Resume: "old", ResetMessages: 100}, "a")
		want[Disconnected](t, events)
		if c.Cursor() != "old" {
			t.Errorf("stands at %q before it has read anything", c.Cursor())
		}
		want[Reset](t, events)
		shown := map[string]int{}
		for range 3 {
			e := want[Received](t, events)
			shown[e.Message.ID]++
			if e.Cursor != "" {
				t.Errorf("gave cursor %q within a reset", e.Cursor)
			}
		}
		if e := want[Synced](t, events); e.Cursor != "newer" || len(shown) != 3 {
			t.Errorf("ended with cursor %q and %v", e.Cursor, shown)
		}
		_ = stop()
		if !slices.Equal(resumes, []any{"old", "old"}) {
			t.Errorf("resumed from %v", resumes)
		}
	})
}

// A send that is refused for good is told and forgotten; the one that named it is sent again without that name. A refusal
// that may pass is obeyed: nothing goes out before the time it names.
func TestRefusedSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			one, two := p.next(), p.next()
			p.send(frame{"t": "error", "code": "denied", "message": "no", "retryable": false, "re": one["client_id"]})
			p.send(frame{"t": "error", "code": "after_unknown", "message": "first", "retryable": true, "retry_after_ms": 4000, "re": two["client_id"]})
			asked := time.Now()
			again := p.next()
			if again["client_id"] != two["client_id"] || again["after"] != nil || time.Since(asked) < 4*time.Second {
				t.Errorf("got %v after %v", again, time.Since(asked))
			}
			p.ack(again, second, "zone")
			p.drain()
		}, nil)
		c, events, stop := w.run(Options{}, "a")
		one, _ := c.Send(Outgoing{ToUser: "boss", Text: "m"})
		two, _ := c.Send(Outgoing{ToUser: "grace", Text: "m"})
		if e := want[Failed](t, events); e.ClientID != one || e.Err.Code != CodeDenied {
			t.Errorf("failed: %+v", e)
		}
		if e := want[Acked](t, events); e.ClientID != two || !e.Final {
			t.Errorf("acked: %+v", e)
		}
		_ = stop()
	})
}

// A read mark of a message that has not reached the region yet is told again after a while; one that cannot count is not.
func TestRefusedReadMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			mark := p.next()
			p.send(frame{"t": "error", "code": "unknown_message", "message": "not here", "retryable": false, "re": "read"})
			asked := time.Now()
			again := p.next()
			if again["t"] != "read" || again["message_id"] != mark["message_id"] || time.Since(asked) < 4*time.Second {
				t.Errorf("got %v after %v", again, time.Since(asked))
			}
			p.send(frame{"t": "error", "code": "not_member", "message": "left", "retryable": false, "re": "read"})
			asked = time.Now()
			if next := p.next(); next["t"] == "read" {
				t.Errorf("told again after %v: %v", time.Since(asked), next)
			}
			p.drain()
		}, nil)
		c, events, stop := w.run(Options{}, "a")
		c.MarkRead(talk, first)
		want[Refused](t, events)
		want[Refused](t, events)
		_ = stop()
	})
}

// A send says which message of the conversation its writer had seen, and keeps saying that one when it is sent again.
func TestSendNamesWhatWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var seen []any
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			p.send(messageFrame(second, "k2", "two", "c2"))
			p.send(messageFrame(first, "k1", "one", "c3"))
			seen = append(seen, p.next()["seen"])
			p.send(messageFrame(third, "k3", "three", "c4"))
		}, nil)
		w.serve("b", func(p *peer) {
			p.welcome("b", nil)
			seen = append(seen, p.next()["seen"])
			p.drain()
		}, nil)
		c, events, stop := w.run(Options{}, "a", "b")
		want[Received](t, events)
		want[Received](t, events)
		_, _ = c.Send(Outgoing{ToUser: "grace", Text: "m"})
		want[Connected](t, events)
		time.Sleep(time.Second)
		_ = stop()
		if !slices.Equal(seen, []any{second, second}) {
			t.Errorf("seen: %v", seen)
		}
	})
}

// An expired log-in is renewed and the client goes on; one that every region refuses ends Run.
func TestLogInIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ended := false
		socket := func(p *peer) {
			hello := p.next()
			if hello["token"] != "fresh" {
				p.send(frame{"t": "error", "code": "unauthorized", "message": "expired"})
				p.close(4001, "unauthorized")
				return
			}
			p.send(frame{"t": "welcome", "max_level": "zone", "cursor": "c"})
			ended = true
			p.close(4001, "unauthorized")
		}
		rest := func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/token" || r.Header.Get("Authorization") != "" {
				t.Errorf("got %s %s", r.Method, r.URL)
			}
			if ended {
				answer(rw, 401, frame{"code": "unauthorized", "message": "session ended"})
				return
			}
			answer(rw, 200, frame{"token": "fresh", "refresh_token": "next", "expires_at": time.Now().Add(time.Hour)})
		}
		w.serve("a", socket, rest)
		w.serve("b", socket, rest)
		_, events, stop := w.run(Options{}, "a", "b")
		if e := want[TokensChanged](t, events); e.Tokens.Access != "fresh" || e.Tokens.Refresh != "next" {
			t.Errorf("tokens: %+v", e.Tokens)
		}
		want[Connected](t, events)
		time.Sleep(time.Minute)
		if err := stop(); CodeOf(err) != CodeUnauthorized {
			t.Errorf("Run ended with %v", err)
		}
		if hosts := w.dialed(); !slices.Contains(hosts, "b") {
			t.Errorf("asked only %v", hosts)
		}
	})
}

// A region that may not serve this user gets nothing but the hello; the client goes where it says.
func TestWrongRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve("a", func(p *peer) {
			p.next()
			p.send(frame{"t": "error", "code": "wrong_region", "retryable": true, "endpoints": []frame{{"region": "in", "url": "http://in"}}})
			p.close(4307, "wrong_region")
			if f := p.next(); f != nil {
				t.Errorf("told the wrong region %v", f)
			}
		}, nil)
		w.serve("in", func(p *peer) {
			p.welcome("in", frame{"max_level": "region"})
			p.ack(p.next(), first, "region")
			p.drain()
		}, nil)
		c, events, stop := w.run(Options{}, "a")
		_, _ = c.Send(Outgoing{ToUser: "grace", Text: "secret"})
		if e := want[Connected](t, events); e.Region != "in" {
			t.Errorf("served by %s", e.Region)
		}
		if e := want[Acked](t, events); !e.Final {
			t.Error("the highest level of the zone is not final")
		}
		_ = stop()
	})
}

// A drain moves the client within the time it names; a router is asked when every endpoint has failed.
func TestGoAwayAndDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		w.serve("router", nil, func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.RequestURI() != "/v1/route?as=192.0.2.1" {
				t.Errorf("asked for %s", r.URL)
			}
			answer(rw, 200, frame{"region": "a", "endpoints": []frame{{"region": "a", "url": "http://a"}}})
		})
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			p.send(frame{"t": "goaway", "reason": "drain", "within_ms": 60000, "endpoints": []frame{{"region": "b", "url": "http://b"}}})
			p.drain()
		}, nil)
		w.serve("b", func(p *peer) {
			p.welcome("b", nil)
			p.drain()
		}, nil)
		_, events, stop := w.run(Options{Router: "http://router", As: "192.0.2.1"})
		want[Connected](t, events)
		if e := want[Connected](t, events); e.Region != "b" || time.Since(start) < 30*time.Second || time.Since(start) > 32*time.Second {
			t.Errorf("served by %s after %v", e.Region, time.Since(start))
		}
		_ = stop()
	})
}

// Edits, deletions and reactions wait, are acknowledged and are repeated in another region as sends are; a send after one names
// the send before, and not the change.
func TestChangesAreKeptUntilTheZoneHasThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var got, again []frame
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			for range 5 {
				got = append(got, p.next())
			}
			p.ack(got[0], first, "zone")
			p.ack(got[1], second, "region")
			// the region dies
		}, nil)
		w.serve("b", func(p *peer) {
			p.welcome("b", nil)
			for range 4 {
				f := p.next()
				again = append(again, f)
				p.ack(f, third, "zone")
			}
			p.drain()
		}, nil)
		c, events, stop := w.run(Options{}, "a", "b")
		var ids [5]string
		ids[0], _ = c.Send(Outgoing{Conversation: talk, Text: "one"})
		ids[1], _ = c.Edit(talk, first, "two")
		ids[2], _ = c.React(talk, first, "👍", false)
		ids[3], _ = c.Delete(talk, first)
		ids[4], _ = c.Send(Outgoing{Conversation: talk, Text: "three"})
		for final := 0; final < 5; {
			if want[Acked](t, events).Final {
				final++
			}
		}
		_ = stop()
		edit, react, del := got[1], got[2], got[3]
		if edit["t"] != "edit" || edit["message_id"] != first || edit["conversation_id"] != talk || edit["body"].(frame)["text"] != "two" {
			t.Errorf("edit: %v", edit)
		}
		if react["t"] != "react" || react["emoji"] != "👍" || react["on"] != false || del["t"] != "delete" || got[4]["after"] != ids[0] {
			t.Errorf("react %v, delete %v, send %v", react, del, got[4])
		}
		for i, f := range again {
			if f["client_id"] != ids[i+1] {
				t.Errorf("region b got %v as number %d", f, i)
			}
		}
		if len(c.Pending()) != 0 {
			t.Errorf("still pending: %v", c.Pending())
		}
	})
}

// Changes, news of groups and refusals by a region come as events of their own, each with its cursor.
func TestChangeEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serve("a", func(p *peer) {
			p.welcome("a", nil)
			change := func(kind, cursor string, more frame) {
				f := frame{
					"t": kind, "cursor": cursor, "conversation_id": talk, "message_id": first, "client_id": "c", "user": grace,
					"at": "2026-05-04T10:20:30.123Z",
				}
				maps.Copy(f, more)
				p.send(f)
			}
			m := messageFrame(first, "m", "one", "1")
			m["message"].(frame)["edited_at"] = "2026-05-04T10:20:31.000Z"
			m["message"].(frame)["reactions"] = []frame{{"emoji": "👍", "users": []string{ada}}}
			m["message"].(frame)["refusals"] = []frame{{"region": "b", "code": "denied", "reason": "not here"}}
			p.send(m)
			change("edit", "2", frame{"body": frame{"text": "two"}})
			change("react", "3", frame{"emoji": "👍", "on": true})
			change("delete", "4", nil)
			p.send(frame{
				"t": "group", "cursor": "5", "conversation_id": talk, "change": "joined", "user": frame{"id": ada, "username": "ada"},
				"by": frame{"id": grace, "username": "grace"}, "name": "five", "role": "member", "at": "2026-05-04T10:20:30.123Z",
			})
			p.send(frame{
				"t": "failed", "cursor": "6", "conversation_id": talk, "message_id": first, "client_id": "c", "region": "b",
				"code": "denied", "message": "not here",
			})
			p.drain()
		}, nil)
		c, events, stop := w.run(Options{}, "a")
		if e := want[Received](t, events); e.Message.EditedAt.IsZero() || len(e.Message.Reactions) != 1 || e.Message.Reactions[0].Users[0] != ada ||
			len(e.Message.Refusals) != 1 || e.Message.Refusals[0] != (Refusal{Region: "b", Code: CodeDenied, Reason: "not here"}) {
			t.Errorf("%+v", e)
		}
		if e := want[Edited](t, events); e.Text != "two" || e.MessageID != first || e.User != grace || e.Cursor != "2" || e.At.IsZero() {
			t.Errorf("%+v", e)
		}
		if e := want[Reacted](t, events); e.Emoji != "👍" || !e.On || e.Cursor != "3" {
			t.Errorf("%+v", e)
		}
		if e := want[Deleted](t, events); e.MessageID != first || e.Cursor != "4" {
			t.Errorf("%+v", e)
		}
		if e := want[GroupChanged](t, events); e.Change != "joined" || e.User.ID != ada || e.By.Username != "grace" || e.Name != "five" || e.Role != "member" || e.Cursor != "5" {
			t.Errorf("%+v", e)
		}
		if e := want[Undelivered](t, events); e.Region != "b" || CodeOf(e.Err) != CodeDenied || e.Err.Message != "not here" || c.Cursor() != "6" {
			t.Errorf("%+v", e)
		}
		_ = stop()
	})
}

// The calls of groups go where the protocol says, with a client id each, and read what comes back.
func TestGroupCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var asked []string
		w.serve("a", nil, func(rw http.ResponseWriter, r *http.Request) {
			var in frame
			_ = json.NewDecoder(r.Body).Decode(&in)
			if (r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch) && in["client_id"] == nil {
				t.Errorf("%s without a client id", r.Method)
			}
			asked = append(asked, r.Method+" "+r.URL.RequestURI())
			switch r.Method {
			case http.MethodDelete:
				rw.WriteHeader(http.StatusNoContent)
			case http.MethodPut:
				answer(rw, http.StatusOK, frame{"user": frame{"id": grace, "username": "grace"}, "role": in["role"], "since": "2026-05-04T10:20:30.123Z"})
			case http.MethodGet:
				answer(rw, http.StatusOK, frame{"id": talk, "name": "five", "role": "owner", "member_count": 2, "members": []frame{{"user": frame{"id": ada, "username": "ada"}, "role": "owner"}}, "next": "n"})
			default:
				answer(rw, http.StatusCreated, frame{"id": talk, "kind": "group", "name": in["name"], "member_count": 2, "role": "owner"})
			}
		})
		defer w.close()
		api := &API{BaseURL: "http://a", HTTP: &http.Client{Transport: &http.Transport{DialContext: w.dial, DisableKeepAlives: true}}}
		g, err := api.MakeGroup(t.Context(), NewGroup{Name: "five", Members: []string{"grace"}})
		if err != nil || g.ID != talk || g.Kind != "group" || g.Name != "five" || g.MemberCount != 2 || g.Role != "owner" {
			t.Errorf("%+v, %v", g, err)
		}
		if page, err := api.Group(t.Context(), talk, "x", 10); err != nil || len(page.Members) != 1 || page.Members[0].Role != "owner" || page.Next != "n" {
			t.Errorf("%+v, %v", page, err)
		}
		if m, err := api.PutMember(t.Context(), talk, "grace", "admin"); err != nil || m.Role != "admin" {
			t.Errorf("%+v, %v", m, err)
		}
		if _, err := api.RenameGroup(t.Context(), talk, "six"); err != nil {
			t.Error(err)
		}
		if err := api.DeleteMember(t.Context(), talk, "grace"); err != nil {
			t.Error(err)
		}
		path := "/v1/groups/" + talk
		if want := []string{"POST /v1/groups", "GET " + path + "?after=x&limit=10", "PUT " + path + "/members/grace", "PATCH " + path, "DELETE " + path + "/members/grace"}; !slices.Equal(asked, want) {
			t.Errorf("asked %q", asked)
		}
	})
}
