package sim

// harshMutants are of what nodes need that sleep longer than their lease, begin a life behind a cut, or have coarse clocks.
var harshMutants = []mutant{
	{"other regions are not told of a new life", 22, "replication/receiver.go", []string{"		p.inbound(id)\n		for _, s", "		for _, s"}},
	{"a node that slept through its lease stamps", 22, "replication/siblings.go", []string{
		"	return c.cfg.Lease == 0 || !l.leaving && l.held && now.Sub(l.renewedAt) < c.cfg.Lease && !now.Before(l.joinAt)\n",
		"	return c.cfg.Lease == 0 || !l.leaving && l.held && !now.Before(l.joinAt)\n",
	}},
	{"a page ends between two entries of one arrival", 10, "replication/cursor.go", []string{"	if n := len(rows); !complete && n > 0 {", "	if n := len(rows); false && n > 0 {"}},
	{"a node that starts believes its store about foreign streams", 22, "replication/takeover.go", []string{"			if !c.heardSiblings {", "			if true {"}},
}
