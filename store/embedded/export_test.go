package embedded

// OpenUnsynced opens a store that never syncs, to see that the tests notice.
func OpenUnsynced(o Options) (*Store, error) {
	o.noSync = true
	return Open(o)
}

// SetLayout has the store say that it is of another layout.
func SetLayout(s *Store, layout int) error {
	b := s.db.NewBatch()
	if err := setSelf(b, self{Schema: layout, Region: s.opts.Region}); err != nil {
		return err
	}
	return s.apply(b)
}
