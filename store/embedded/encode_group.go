package embedded

import "meridian/chat"

func (e *encoded) changes(b *chat.Batch) {
	for i := range b.Changes {
		c := &b.Changes[i]
		e.merge(changeKey(c), packChange(c))
	}
}

func (e *encoded) groups(b *chat.Batch) {
	for i := range b.Groups {
		g := &b.Groups[i]
		e.merge(key(tagGroup, g.Owner[:], g.Conversation[:], ord(g.Op)), packGroup(g))
	}
	for i := range b.Members {
		m := &b.Members[i]
		e.merge(key(tagMember, m.Owner[:], m.Conversation[:], m.User.ID[:], ord(m.Op)), packMember(m))
	}
	for i := range b.GroupZones {
		z := &b.GroupZones[i]
		e.merge(key(tagGroupZone, z.Conversation[:], []byte(z.Zone)), packGroupZone(z))
	}
}

func (e *encoded) parked(b *chat.Batch, codec chat.OpCodec) {
	for i := range b.Parked {
		op := &b.Parked[i].Op
		e.set(parkedKey(op), packParked(&b.Parked[i], codec))
	}
	for i := range b.Unparked {
		op := &b.Unparked[i].Op
		_ = e.rows.Delete(parkedKey(op), nil)
	}
}
