package embedded

import "time"

const (
	// maxMemTables bounds the memory buffers that wait to become tables, in units of Options.MemTableBytes; maxOverlap the
	// layers of young tables that a read has to look through. Beyond them the committer waits.
	maxMemTables = 4
	maxOverlap   = 24
	// pressureEvery is how often a waiting committer looks again.
	pressureEvery = 10 * time.Millisecond
)

// room waits until the engine has caught up. It looks only after a memory buffer has filled. It gives an error, and
// nothing is written, when the disk fails meanwhile: then the engine may never catch up.
func (s *engine) room() error {
	if !s.turned.Swap(false) {
		return nil
	}
	for {
		m := s.db.Metrics()
		if m.MemTable.Size <= uint64(maxMemTables*s.opts.MemTableBytes) && m.Levels[0].Sublevels <= maxOverlap {
			return nil
		}
		if err, _ := s.refusal(); err != nil {
			s.turned.Store(true)
			return err
		}
		time.Sleep(pressureEvery)
	}
}
