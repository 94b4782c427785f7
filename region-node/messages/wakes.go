package messages

import (
	"encoding/binary"
	"slices"

	"meridian/chat"
	"meridian/replication"
)

// TellWake is the kind of the hint between nodes of a region that inbox logs have grown: the mark by which they show it, then
// the owners.
const TellWake = "messages.wake"

// maxWakeOwners bounds the owners of one hint; more are told in several.
const maxWakeOwners = 1024

// maxWakes bounds the wake-ups that wait for the marks; beyond it the oldest are given at once, and cost a read for nothing.
const maxWakes = 4096

// wakes are the owners to wake once the local mark has reached at.
type wakes []wake

type wake struct {
	at     chat.HLC
	owners []chat.UserID
}

// wake has the owners of new entries woken: here once the region's marks cover them, and at the other nodes.
func (s *Service) wake(v replication.Visible) {
	if !s.shared() {
		for _, owner := range v.Owners {
			s.hub.Wake(owner)
		}
		return
	}
	var at chat.HLC
	for i := range v.Rows {
		at = max(at, v.Rows[i].Arrival)
	}
	s.wakeAt(at, v.Owners)
	for owners := range slices.Chunk(v.Owners, maxWakeOwners) {
		s.opt.Link.Tell(s.opt.Core.Self, TellWake, encodeWake(at, owners))
	}
}

// OnWake takes such a hint of another node; one that cannot be read is no hint.
func (s *Service) OnWake(payload []byte) {
	const id = len(chat.UserID{})
	if len(payload) < 8 || (len(payload)-8)%id != 0 {
		return
	}
	w := wake{at: chat.HLC(binary.BigEndian.Uint64(payload))}
	for b := payload[8:]; len(b) > 0; b = b[id:] {
		w.owners = append(w.owners, chat.UserID(b[:id]))
	}
	s.inputs.put(item{wake: &w})
}

func encodeWake(at chat.HLC, owners []chat.UserID) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(owners)*len(chat.UserID{})), uint64(at))
	for _, owner := range owners {
		b = append(b, owner[:]...)
	}
	return b
}

// wakeAt remembers a wake-up; the loop's alone.
func (s *Service) wakeAt(at chat.HLC, owners []chat.UserID) {
	s.wakes = append(s.wakes, wake{at, owners})
	s.wakeDue()
}

// wakeDue wakes whom the marks cover; the loop's alone.
func (s *Service) wakeDue() {
	if len(s.wakes) == 0 {
		return
	}
	local := s.Marks().Local
	over := len(s.wakes) - maxWakes
	kept := s.wakes[:0]
	for i, w := range s.wakes {
		if w.at > local && i >= over {
			kept = append(kept, w)
			continue
		}
		for _, owner := range w.owners {
			s.hub.Wake(owner)
		}
	}
	clear(s.wakes[len(kept):])
	s.wakes = kept
}
