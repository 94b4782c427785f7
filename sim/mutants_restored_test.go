package sim

// restoredMutants are of a region that comes back with an old copy of its store.
var restoredMutants = []mutant{
	{"a restored store goes on in its old life", 28, "replication/sender.go", []string{"	if f.UpTo <= o.log.settled || o.log.closed {", "	if true {"}},
	{"a restored region serves at once", 29, "replication/status.go", []string{
		"			if s.watermark < since && !s.beyondBuild(since) {", "			if s == nil {", "	return linked || ", "	return true || linked || ",
	}},
}
