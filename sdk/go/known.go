package meridian

import "crypto/sha256"

// knownMax bounds the messages whose ids are remembered: more than a region sends again after a resume.
const knownMax = 16_384

// known remembers which messages were given to the application: an event that comes twice is dropped, and two ids of one send
// become one message. It also knows the newest message of each conversation.
type known struct {
	byID   map[string]sendKey
	bySend map[sendKey]string // the id under which the application knows it
	order  []string           // ids, oldest first, as a ring
	next   int
	newest map[string]string // by conversation
	direct map[string]string // conversation, by the other's username
}

// sendKey names what somebody sent: the same sender, client id, conversation and text are one message, whatever its id.
type sendKey [32]byte

func keyOf(sender, clientID, conversation, text string) sendKey {
	return sha256.Sum256([]byte(sender + "\x00" + clientID + "\x00" + conversation + "\x00" + text))
}

func newKnown() *known {
	return &known{
		byID: map[string]sendKey{}, bySend: map[sendKey]string{},
		newest: map[string]string{}, direct: map[string]string{},
	}
}

// novelty says what an id means for a send.
type novelty int

const (
	fresh   novelty = iota // not given yet
	repeat                 // given already
	renamed                // given already under a larger id, which is gone now
)

// note takes in that the send key has the id; was is the id until now when it is renamed.
func (k *known) note(key sendKey, conversation, id string) (n novelty, was string) {
	if CompareMessageIDs(k.newest[conversation], id) < 0 {
		k.newest[conversation] = id
	}
	if _, ok := k.byID[id]; ok {
		return repeat, ""
	}
	was, ok := k.bySend[key]
	k.remember(id, key)
	switch {
	case !ok:
		k.bySend[key] = id
		return fresh, ""
	case CompareMessageIDs(id, was) < 0:
		k.bySend[key] = id
		return renamed, was
	}
	return repeat, ""
}

// current gives the id under which the application knows the message with id. Its text may be another one by now, so that it was
// noted under another key than that of its send.
func (k *known) current(id string) string {
	if now, ok := k.bySend[k.byID[id]]; ok {
		return now
	}
	return id
}

// alias takes in that from is called to. It says whether the application may know from and has not been told: what an
// earlier run of it was given is not remembered here.
func (k *known) alias(from, to string, earlier bool) (tell bool) {
	key, ok := k.byID[from]
	if !ok {
		return earlier
	}
	if _, ok := k.byID[to]; !ok {
		k.remember(to, key)
	}
	tell = k.bySend[key] == from
	if tell {
		k.bySend[key] = to
	}
	return tell
}

func (k *known) remember(id string, key sendKey) {
	k.byID[id] = key
	if len(k.order) < knownMax {
		k.order = append(k.order, id)
		return
	}
	old := k.order[k.next]
	if gone := k.byID[old]; k.bySend[gone] == old {
		delete(k.bySend, gone)
	}
	delete(k.byID, old)
	k.order[k.next] = id
	k.next = (k.next + 1) % knownMax
}

// forget empties the memory of messages: after a reset the application has forgotten them too.
func (k *known) forget() {
	k.byID, k.bySend, k.order, k.next = map[string]sendKey{}, map[sendKey]string{}, nil, 0
}
