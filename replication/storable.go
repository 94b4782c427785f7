package replication

import "meridian/chat"

// maxNameBytes bounds the names of regions and zones in rows.
const maxNameBytes = 255

// unstorable says why no store could keep what op brings; "" when nothing stands against it. A store orders rows by the times
// in their ids and refuses those that have none; refused by the store, an op would be tried for ever and hold up its stream,
// so it is refused before.
func unstorable(op *chat.Op) string {
	for _, region := range op.To {
		if region == "" || len(region) > maxNameBytes {
			return "a destination without a name, or with one that is too long"
		}
	}
	switch {
	case op.Mark != nil && op.Mark.UpTo != chat.NoMessage && !timed(op.Mark.UpTo):
		return "a mark up to what is no time UUID"
	case op.Change != nil && !timed(op.Change.Target):
		return "a change of what is no time UUID"
	case op.Rows != nil:
		return unstorableRow(op.Rows)
	}
	return ""
}

// timed says whether an id carries a time.
func timed(ids ...chat.MessageID) bool {
	for _, id := range ids {
		if id.Time() == 0 {
			return false
		}
	}
	return true
}

func unstorableRow(r *chat.Rows) string {
	for i := range r.Messages {
		if !timed(r.Messages[i].ID) {
			return "a message whose id is no time UUID"
		}
	}
	for i := range r.Retries {
		if !timed(r.Retries[i].ID) {
			return "a retry row whose id is no time UUID"
		}
	}
	for i := range r.Marks {
		if upTo := r.Marks[i].UpTo; upTo != chat.NoMessage && !timed(upTo) {
			return "a mark up to what is no time UUID"
		}
	}
	for i := range r.Changes {
		c := &r.Changes[i]
		if !timed(c.Target, c.Op) || len(c.Emoji) > chat.MaxEmojiBytes || c.Kind != chat.ChangeReaction && c.Emoji != "" {
			return "a change whose ids are no time UUIDs, or with an emoji that is too long or out of place"
		}
	}
	for i := range r.Groups {
		if !timed(r.Groups[i].Op) {
			return "a group whose op is no time UUID"
		}
	}
	for i := range r.Members {
		if !timed(r.Members[i].Op) {
			return "a membership step whose op is no time UUID"
		}
	}
	for i := range r.GroupZones {
		if len(r.GroupZones[i].Zone) > maxNameBytes {
			return "a zone's name that is too long"
		}
	}
	return ""
}
