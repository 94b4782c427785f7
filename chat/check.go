package chat

// MaxNameBytes bounds the names of regions, nodes and zones in rows.
const MaxNameBytes = 255

// Check refuses a batch with a malformed row, which is a defect of whoever made it. The error has CodeInvalid.
func (b *Batch) Check() error {
	for _, check := range []func() error{b.checkLog, b.checkMailboxes, b.checkChanges, b.checkDirectory, b.checkStreams} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func malformed(what string) error {
	return &Error{Code: CodeInvalid, Op: "chat.Batch", Message: what}
}

// checkID refuses what is no time UUID: its place in the order could not be kept.
func checkID(id MessageID, what string) error {
	if id[6]>>4 != 1 {
		return malformed(what + " is not a time UUID")
	}
	return nil
}

func checkStream(s StreamID, seq uint64) error {
	if s.Region == "" || s.Node == "" || len(s.Region) > MaxNameBytes || len(s.Node) > MaxNameBytes || seq == 0 {
		return malformed("a stream needs a region, a node and a sequence from 1")
	}
	return nil
}

func (b *Batch) checkLog() error {
	for i := range b.Log {
		op := &b.Log[i].Op
		if err := checkStream(op.Stream, op.Seq); err != nil {
			return err
		}
		if len(op.To) > MaxRegions {
			return malformed("an op has more destinations than chat.MaxRegions")
		}
		for _, region := range op.To {
			if region == "" || len(region) > MaxNameBytes {
				return malformed("a destination has no name, or one over chat.MaxNameBytes")
			}
		}
	}
	for _, rows := range [][]ParkedRow{b.Parked, b.Unparked} {
		for i := range rows {
			if err := checkStream(rows[i].Op.Stream, rows[i].Op.Seq); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Batch) checkMailboxes() error {
	for i := range b.Messages {
		if err := checkID(b.Messages[i].ID, "a message's id"); err != nil {
			return err
		}
	}
	for i := range b.Inbox {
		if err := checkID(b.Inbox[i].Op, "an inbox entry's op"); err != nil {
			return err
		}
	}
	for i := range b.Retries {
		if err := checkID(b.Retries[i].ID, "a retry's id"); err != nil {
			return err
		}
	}
	for i := range b.Marks {
		if upTo := b.Marks[i].UpTo; upTo != NoMessage {
			if err := checkID(upTo, "a mark's message"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Batch) checkChanges() error {
	for i := range b.Changes {
		c := &b.Changes[i]
		if err := checkID(c.Target, "a change's target"); err != nil {
			return err
		}
		if err := checkID(c.Op, "a change's op"); err != nil {
			return err
		}
		if len(c.Emoji) > MaxEmojiBytes || c.Kind.Each() && c.Emoji != "" {
			return malformed("a change's emoji is over chat.MaxEmojiBytes, or stands in an alias or a deletion")
		}
	}
	for i := range b.Groups {
		if err := checkID(b.Groups[i].Op, "a group's op"); err != nil {
			return err
		}
	}
	for i := range b.Members {
		if err := checkID(b.Members[i].Op, "a membership step's op"); err != nil {
			return err
		}
	}
	for i := range b.GroupZones {
		if len(b.GroupZones[i].Zone) > MaxNameBytes {
			return malformed("a zone's name is over chat.MaxNameBytes")
		}
	}
	return nil
}

func (b *Batch) checkDirectory() error {
	for i := range b.Claims {
		if b.Claims[i].Pending || len(b.Claims[i].Zone) > MaxNameBytes {
			return malformed("Batch.Claims takes confirmed claims, of a zone whose name has at most chat.MaxNameBytes")
		}
	}
	return nil
}

func (b *Batch) checkStreams() error {
	for i := range b.Applied {
		if err := checkStream(b.Applied[i].Stream, 1); err != nil {
			return err
		}
	}
	for i := range b.Positions {
		if err := checkStream(b.Positions[i].Stream, 1); err != nil {
			return err
		}
	}
	for i := range b.DeadLetters {
		if err := checkStream(b.DeadLetters[i].Stream, b.DeadLetters[i].Seq); err != nil {
			return err
		}
	}
	for i := range b.Refusals {
		if err := checkID(b.Refusals[i].Op, "Refusal.Op"); err != nil {
			return err
		}
		if err := checkID(b.Refusals[i].Told, "Refusal.Told"); err != nil {
			return err
		}
	}
	return nil
}
