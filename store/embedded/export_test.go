package embedded

// OpenUnsynced opens a store that never syncs, to see that the tests notice.
func OpenUnsynced(o Options) (*Store, error) {
	o.noSync = true
	return Open(o)
}
