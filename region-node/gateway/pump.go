package gateway

import (
	"meridian/chat"
	"meridian/region-node/messages"
	"meridian/region-node/wire"
)

// pump writes out what came since where the client stands: from what the hub was told, or from the inbox logs, page by page.
// The marks are taken first: what they cover was told, and is in the logs, by then ("stable time first, then the log").
func (s *session) pump() error {
	for {
		marks := s.g.opt.Messages.Marks()
		after, upTo, ok := s.reader.Query(marks)
		if !ok {
			return nil
		}
		entries, complete, err := s.gather(after, upTo)
		if err != nil {
			return s.degraded(err)
		}
		rows := make([]chat.InboxRow, len(entries))
		for i := range entries {
			rows[i] = entries[i].Row
		}
		positions := s.reader.Page(rows, complete)
		entries = entries[:len(positions)] // a page that was cut off leaves its last arrival to the next one
		frames := make([][]byte, 0, len(entries))
		for i := range entries {
			frame, err := s.frameOf(&entries[i], positions[i].Cursor.String())
			if err != nil {
				return s.degraded(err)
			}
			if frame != nil {
				frames = append(frames, wire.Encode(frame))
			}
		}
		if err := s.send(frames); err != nil {
			return err
		}
		s.mu.Lock()
		s.cursor = s.reader.Cursor().String()
		s.mu.Unlock()
		s.markDelivered(entries)
		if complete {
			return nil
		}
	}
}

// degraded ends a socket whose store does not answer: the client resumes by cursor, here or elsewhere.
func (s *session) degraded(err error) error {
	if s.ctx.Err() == nil {
		s.log.Error("inbox log not readable", "session", s.id, "err", err)
		s.conn.Close(CloseCode(chat.CodeRegionDegraded), string(chat.CodeRegionDegraded))
	}
	return err
}

// markDelivered tells the others that their messages reached a device. In groups nobody is told.
func (s *session) markDelivered(entries []messages.Entry) {
	for i := range entries {
		row := &entries[i].Row
		if row.Kind == chat.InboxMessage && row.Actor != s.self.ID && row.Owner == s.self.ID {
			s.g.marker.delivered(s.self, row.Conversation, row.Ref)
		}
	}
}

// loadBlocks reads whom this person blocks; the log brings an entry when that changes.
func (s *session) loadBlocks() error {
	blocks, err := s.g.opt.People.BlocksOf(s.ctx, s.self.ID)
	if err == nil {
		s.blocks.Store(blocks)
	}
	return err
}
