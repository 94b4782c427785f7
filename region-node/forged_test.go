package regionnode_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"meridian/chat"
	pb "meridian/proto"
	"meridian/region-node/auth"
	"meridian/region-node/edge"
	"meridian/region-node/verify"
	"meridian/replication"
	"meridian/replication/link"
)

// The people of these tests. The rogue region serves the zones world and in, and not eu.
var (
	ada   = chat.Owner{ID: chat.UserID{1, 15: 1}, Zone: "world", Name: "ada"}
	grace = chat.Owner{ID: chat.UserID{2, 15: 2}, Zone: "world", Name: "grace"}
	emmy  = chat.Owner{ID: chat.UserID{3, 15: 3}, Zone: "eu", Name: "emmy"}
	indu  = chat.Owner{ID: chat.UserID{4, 15: 4}, Zone: "in", Name: "indu"}
)

var forgedClient = chat.ClientID{9, 15: 9}

// emmysGroup is one that emmy, of zone eu, made.
var emmysGroup = chat.GroupConversation(emmy, forgedClient)

// message is an honest one from ada to grace.
func (r *rogue) message(text string) chat.Op {
	sum := sha256.Sum256([]byte(text))
	return r.stamp(chat.Op{
		Kind: chat.OpMessage, Author: ada, Owners: []chat.Owner{ada, grace}, Conversation: chat.DirectConversation(ada.ID, grace.ID),
		Client: chat.ClientID(sum[:16]), Body: []byte(text), To: []chat.Region{"eu-west", "us-east"},
	})
}

// stamp gives an op the time and identity that its origin would.
func (r *rogue) stamp(op chat.Op) chat.Op {
	op.Time = r.now()
	op.Logged = op.Time
	op.ID = chat.NewMessageID(op.Time, op.Author.ID, op.Client)
	op.Stream, op.Seq = r.stream, r.seq+1
	if op.Kind == chat.OpMessage || op.Change != nil && op.Change.Kind == chat.ChangeEdit {
		op.BodyHash = sha256.Sum256(op.Body)
	}
	return op
}

// Whatever op a region with a good certificate forges is refused with the code that says why, counted and kept as a dead letter;
// nothing else is stored, and the honest op after it arrives on the same stream.
func TestForgedOpsOfARogueRegion(t *testing.T) {
	r := newRogue(t)
	r.bring(r.message("before all"))
	store, metrics := r.w.stores["eu-west"], r.w.metrics["eu-west"]
	count := func(code chat.Code) float64 {
		name, label := "link_refused_total", string(code)
		if code == chat.CodeDenied {
			name, label = "residency_violations_total", "receive"
		}
		v, _ := metrics.Value(name, label)
		return v
	}
	refused := 0
	for name, c := range forgedOps() {
		op := r.message(name)
		if c.forge != nil {
			c.forge(&op)
			op = r.stamp(op)
		}
		if c.alter != nil {
			c.alter(&op)
		}
		before, counted := contents(t, store), count(c.code)
		r.bring(op)
		if diff := cmp.Diff(before, contents(t, store)); diff != "" {
			t.Errorf("%s: stored\n%s", name, diff)
		}
		letters, err := store.DeadLetters(t.Context(), 100)
		must(t, err)
		if len(letters) != refused+1 || !slices.ContainsFunc(letters, func(l chat.DeadLetterRow) bool { return l.Op == op.ID && l.Reason == c.code && l.Detail != "" }) {
			t.Errorf("%s: %d dead letters, none of it with code %s: %+v", name, len(letters), c.code, letters[:min(1, len(letters))])
		}
		refused = len(letters)
		if count(c.code) != counted+1 {
			t.Errorf("%s: %s is counted %v times, want %v", name, c.code, count(c.code), counted+1)
		}
		honest := r.message("after " + name)
		r.bring(honest)
		if _, ok, err := store.Message(t.Context(), grace.ID, honest.Conversation, honest.ID); !ok || err != nil {
			t.Fatalf("%s: the honest op after it is not there (%v)", name, err)
		}
	}
	if refused < 30 {
		t.Errorf("%d kinds", refused)
	}
}

// Frames that carry no op, and ops that come again, too early or out of order, change nothing; those that are out of place are
// counted, and the stream goes on.
func TestForgedFramesOfARogueRegion(t *testing.T) {
	r := newRogue(t)
	first := r.message("first")
	r.bring(first)
	store, metrics := r.w.stores["eu-west"], r.w.metrics["eu-west"]
	own := chat.StreamID{Region: "eu-west", Node: "n1", Incarnation: 1}
	foreign := chat.StreamID{Region: "us-east", Node: "n1", Incarnation: 1}
	lives := slices.Repeat([]*pb.StreamID{streamOf(r.stream)}, 200)
	upsideDown := r.batch(r.message("upside down"))
	upsideDown.After = upsideDown.UpTo + 5
	planted := r.batch(r.message("planted"))
	planted.Stream = streamOf(foreign)
	for name, c := range map[string]struct {
		frame *pb.Relay
		code  chat.Code
	}{
		"a batch of another region's stream":    {planted, chat.CodeBadFrame},
		"a range upside down":                   {upsideDown, chat.CodeBadFrame},
		"another region's stream opened":        {&pb.Relay{Kind: uint32(replication.FrameOpen), Stream: streamOf(foreign)}, chat.CodeBadFrame},
		"a position in another region's stream": {&pb.Relay{Kind: uint32(replication.FramePosition), Stream: streamOf(foreign), UpTo: 9}, chat.CodeBadFrame},
		"what a region has of its own streams":  {&pb.Relay{Kind: uint32(replication.FrameHave), Stream: streamOf(r.stream)}, chat.CodeBadFrame},
		"more lives than nodes":                 {&pb.Relay{Kind: uint32(replication.FrameLives), Lives: lives}, chat.CodeBadFrame},
		"marks, as a node of another region":    {&pb.Relay{Kind: uint32(replication.FrameMarks), Stream: streamOf(own), Low: 1 << 60}, chat.CodeUnknownFrame},
	} {
		before := contents(t, store)
		counted, _ := metrics.Value("link_refused_total", string(c.code))
		r.send(relayFrame(c.frame))
		r.w.eventually(name+" counted", func() bool {
			v, _ := metrics.Value("link_refused_total", string(c.code))
			return v > counted
		})
		if diff := cmp.Diff(before, contents(t, store)); diff != "" {
			t.Errorf("%s: stored\n%s", name, diff)
		}
		r.bring(r.message("after " + name))
	}
	before := contents(t, store)
	late := r.message("too early")
	late.Seq += 3
	tooEarly := r.batch(late)
	tooEarly.After, tooEarly.UpTo = late.Seq-1, late.Seq
	again := &pb.Relay{Kind: uint32(replication.FrameBatch), Stream: streamOf(r.stream), UpTo: 1, Ops: [][]byte{link.OpCodec{}.Append(nil, &first)}}
	r.send(relayFrame(tooEarly), relayFrame(again), relayFrame(again))
	r.w.eventually("the victim asks for what is missing", func() bool { return string(r.asks().Reason) == string(chat.CodeNotFound) })
	if diff := cmp.Diff(before, contents(t, store)); diff != "" {
		t.Errorf("repeated, or too early: stored\n%s", diff)
	}
	r.bring(r.message("after all"))
}

// Bytes that are no frame in their place end the link with a reason, and hellos that lie are refused; the stream goes on over the
// next link. A packet that says it is compressed is one of them: nothing is inflated.
func TestBrokenLinksOfARogueRegion(t *testing.T) {
	r := newRogue(t)
	r.bring(r.message("before all"))
	store, metrics := r.w.stores["eu-west"], r.w.metrics["eu-west"]
	field := func(number protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
	}
	relay := func(kind replication.FrameKind, ops ...[]byte) []byte {
		return frameBytes(relayFrame(&pb.Relay{Kind: uint32(kind), Stream: streamOf(r.stream), Ops: ops}))
	}
	for name, c := range map[string]struct {
		kind   int
		packet []byte
		reason link.End
	}{
		"rubbish":              {websocket.BinaryMessage, []byte("rubbish"), link.EndMalformed},
		"text":                 {websocket.TextMessage, []byte("{}"), link.EndMalformed},
		"cut off":              {websocket.BinaryMessage, relay(1, []byte("x"))[:6], link.EndMalformed},
		"an op that is none":   {websocket.BinaryMessage, relay(1, []byte("rubbish")), link.EndMalformed},
		"too many ops":         {websocket.BinaryMessage, relay(1, make([][]byte, link.MaxFrameOps+1)...), link.EndMalformed},
		"an op too large":      {websocket.BinaryMessage, relay(1, make([]byte, link.MaxOpBytes+1)), link.EndMalformed},
		"a packet too large":   {websocket.BinaryMessage, make([]byte, link.MaxFrameBytes+1), link.EndTooLarge},
		"a frame to come":      {websocket.BinaryMessage, field(1, field(99, nil)), link.EndUnknownFrame},
		"a relay kind to come": {websocket.BinaryMessage, relay(200), link.EndUnknownFrame},
		"a second hello":       {websocket.BinaryMessage, frameBytes(helloOf("ap-south", 1, 2)), link.EndMalformed},
		"compressed":           {0, nil, link.EndMalformed},
	} {
		before := contents(t, store)
		counted, _ := metrics.Value("link_closed_total", "ap-south/n1", string(c.reason))
		if c.kind == 0 {
			r.bomb(t)
		} else {
			r.write(c.kind, c.packet)
		}
		r.w.eventually(name+" ends the link", func() bool {
			v, _ := metrics.Value("link_closed_total", "ap-south/n1", string(c.reason))
			return v > counted && r.closeCode() != 0
		})
		if diff := cmp.Diff(before, contents(t, store)); diff != "" {
			t.Errorf("%s: stored\n%s", name, diff)
		}
		r.connect(t)
		r.bring(r.message("after " + name))
	}
	r.liesInHello(t)
	r.bring(r.message("after all"))
}

// liesInHello says hello as others and in versions that there are not: each is refused, and counted.
func (r *rogue) liesInHello(t *testing.T) {
	t.Helper()
	metrics := r.w.metrics["eu-west"]
	for name, c := range map[string]struct {
		hello  *pb.Frame
		metric string
	}{
		"a hello of another region":   {helloOf("us-east", 1, 2), "hello"},
		"a hello of the victim":       {helloOf("eu-west", 1, 2), "hello"},
		"a version to come":           {helloOf("ap-south", 90, 99), "version"},
		"a version that is forgotten": {helloOf("ap-south", 0, 0), "version"},
	} {
		before, _ := metrics.Value("link_refused_total", c.metric)
		counted := func() float64 { v, _ := metrics.Value("link_refused_total", c.metric); return v - before }
		tries := 0.0
		r.w.eventually(name+" is refused", func() bool {
			tries++
			ws, err := r.dial(t, c.hello)
			for err == nil {
				_, _, err = ws.ReadMessage()
			}
			var why *websocket.CloseError
			return errors.As(err, &why) && why.Code != websocket.CloseAbnormalClosure
		})
		r.w.eventually(name+" is counted", func() bool { return counted() > 0 }) // after the refusal
		if counted() > tries {
			t.Errorf("%s: counted %v times in %v tries", name, counted(), tries)
		}
	}
}

// bomb sends a message that says it is compressed: 64 KiB that would inflate to some 64 MiB.
func (r *rogue) bomb(t *testing.T) {
	t.Helper()
	head := binary.BigEndian.AppendUint16([]byte{0x80 | 0x40 | 0x02, 0x80 | 126}, 65000)
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.ws.NetConn().Write(append(append(head, 0, 0, 0, 0), make([]byte, 65000)...))
	must(t, err)
}

// Calls in which a region asks for, or claims, what it does not serve are refused with a code.
func TestForgedCallsOfARogueRegion(t *testing.T) {
	r := newRogue(t)
	store := r.w.stores["eu-west"]
	secret := chat.MessageRow{
		Owner: emmy.ID, OwnerZone: "eu", Conversation: chat.DirectConversation(emmy.ID, ada.ID), ID: chat.NewMessageID(r.now(), emmy.ID, forgedClient),
		Sender: emmy.ID, Client: forgedClient, Body: []byte("secret"),
	}
	shared := secret
	shared.Owner, shared.Conversation = chat.UserID(emmysGroup), emmysGroup
	made := chat.MemberRow{
		Owner: shared.Owner, Conversation: emmysGroup, User: emmy, Op: secret.ID, Role: chat.RoleOwner, By: emmy.ID, ByZone: "eu", Client: forgedClient, Made: true,
	}
	r.plant(t, chat.Rows{
		Accounts: []chat.Account{{ID: emmy.ID, Username: "emmy", Zone: "eu", Version: r.now()}},
		Messages: []chat.MessageRow{secret, shared}, Members: []chat.MemberRow{made},
		// That the group has people in another zone is a hint, which anybody can plant.
		GroupZones: []chat.GroupZoneRow{{Conversation: emmysGroup, Zone: "eu", Since: 1}, {Conversation: emmysGroup, Zone: "world", Since: 1}},
		Conversations: []chat.ConversationRow{
			{Owner: emmy.ID, ID: secret.Conversation, Last: secret.ID}, {Owner: shared.Owner, ID: emmysGroup, Last: shared.ID, Group: true},
		},
	})
	_, err := store.Reserve(t.Context(), chat.Claim{Zone: "eu", Pending: true, Version: r.now()})
	must(t, err)
	claim := func(zone string) []byte { // as auth encodes it: format, key, blinded id, bucket, attempt, version, pending, zone
		return append(append([]byte{1}, make([]byte, 32+16+2+16+8+1)...), zone...)
	}
	none := strings.Repeat("00", sha256.Size)
	all := map[string]string{"0": none, fmt.Sprint(time.Now().Unix() / int64((24 * time.Hour).Seconds())): none}
	question := func(zone chat.Zone, owner chat.UserID, days map[string]string) []byte {
		b, err := json.Marshal(map[string]any{"zone": zone, "owner": owner, "days": days})
		must(t, err)
		return b
	}
	before := contents(t, store)
	for name, c := range map[string]struct {
		method  string
		payload []byte
		code    chat.Code
		reply   string
	}{
		"digests of a foreign zone":            {verify.MethodOwners, question("eu", emmy.ID, nil), chat.CodeDenied, ""},
		"a mailbox of a foreign zone":          {verify.MethodBring, question("eu", emmy.ID, all), chat.CodeDenied, ""},
		"the same, by a zone of one's own":     {verify.MethodBring, question("world", emmy.ID, all), "", `{}`},
		"its days, by a zone of one's own":     {verify.MethodDays, question("world", emmy.ID, nil), "", `{}`},
		"a group without people of that zone":  {verify.MethodBring, question("world", chat.UserID(emmysGroup), all), "", `{}`},
		"a question that is none":              {verify.MethodDays, []byte("{"), chat.CodeInvalid, ""},
		"names that are none":                  {verify.MethodNamesList, []byte(`{"names":{"00":"` + none + `"}}`), chat.CodeInvalid, ""},
		"a reserved name to confirm":           {verify.MethodMend, []byte(`{"differ":["` + none + `"]}`), "", `{"differ":["` + none + `"],"up_to":"` + none + `"}`},
		"a name for a zone that it serves not": {auth.MethodReserve, claim("eu"), chat.CodeDenied, ""},
		"a name given up for such a zone":      {auth.MethodRelease, claim("eu"), chat.CodeDenied, ""},
		"a name confirmed for such a zone":     {auth.MethodConfirm, claim("eu"), chat.CodeDenied, ""},
		"a claim that is none":                 {auth.MethodReserve, []byte("x"), chat.CodeInvalid, ""},
		"a key that is none":                   {auth.MethodLookup, []byte("x"), chat.CodeInvalid, ""},
		"give me this user's mailbox":          {"mailbox.read", emmy.ID[:], chat.CodeNotFound, ""},
		"a request that is none":               {edge.MethodHTTP, []byte("x"), chat.CodeInvalid, ""},
	} {
		reply := r.call(c.method, c.payload)
		if code := chat.Code(reply.GetError().GetCode()); code != c.code || string(reply.Payload) != c.reply {
			t.Errorf("%s: code %q, reply %q; want %q, %q", name, code, reply.Payload, c.code, c.reply)
		}
	}
	if diff := cmp.Diff(before, contents(t, store)); diff != "" {
		t.Errorf("stored\n%s", diff)
	}
}

// plant writes rows into the victim's store.
func (r *rogue) plant(t *testing.T, rows chat.Rows) {
	t.Helper()
	done := make(chan error, 1)
	r.w.stores["eu-west"].Commit(&chat.Batch{Rows: rows}, func(err error) { done <- err })
	must(t, <-done)
}
