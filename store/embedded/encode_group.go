package embedded

import "meridian/chat"

func (e *encoded) changes(b *chat.Batch) error {
	for i := range b.Changes {
		c := &b.Changes[i]
		if err := checkID(c.Target, "a change's target"); err != nil {
			return err
		}
		if err := checkID(c.Op, "a change's op"); err != nil {
			return err
		}
		if len(c.Emoji) > chat.MaxEmojiBytes || manyOf(c.Kind) && c.Emoji != "" {
			return invalid("a change's emoji is over chat.MaxEmojiBytes, or stands in an alias or a deletion")
		}
		e.merge(changeKey(c), packChange(c))
	}
	return nil
}

func (e *encoded) groups(b *chat.Batch) error {
	for i := range b.Groups {
		g := &b.Groups[i]
		if err := checkID(g.Op, "a group's op"); err != nil {
			return err
		}
		e.merge(key(tagGroup, g.Owner[:], g.Conversation[:], ord(g.Op)), packGroup(g))
	}
	for i := range b.Members {
		m := &b.Members[i]
		if err := checkID(m.Op, "a membership step's op"); err != nil {
			return err
		}
		e.merge(key(tagMember, m.Owner[:], m.Conversation[:], m.User.ID[:], ord(m.Op)), packMember(m))
	}
	for i := range b.GroupZones {
		z := &b.GroupZones[i]
		if len(z.Zone) > maxName {
			return invalid("a zone's name is over 255 bytes")
		}
		e.merge(key(tagGroupZone, z.Conversation[:], []byte(z.Zone)), packGroupZone(z))
	}
	return nil
}

func (e *encoded) parked(b *chat.Batch, codec chat.OpCodec) error {
	for i := range b.Parked {
		op := &b.Parked[i].Op
		if err := checkStream(op.Stream, op.Seq); err != nil {
			return err
		}
		e.set(parkedKey(op), packParked(&b.Parked[i], codec))
	}
	for i := range b.Unparked {
		op := &b.Unparked[i].Op
		if err := checkStream(op.Stream, op.Seq); err != nil {
			return err
		}
		_ = e.rows.Delete(parkedKey(op), nil)
	}
	return nil
}
