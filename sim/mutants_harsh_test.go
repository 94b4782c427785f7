package sim

// harshMutants are of what nodes need that sleep longer than their lease, begin a life behind a cut, or have coarse clocks.
var harshMutants = []mutant{
	{"other regions are not told of a new life", 22, "replication/receiver.go", []string{"		p.inbound(id)\n		for _, s", "		for _, s"}},
	{"a node that slept through its lease stamps", 22, "replication/siblings.go", []string{
		"	return c.cfg.Lease == 0 || !l.leaving && l.held && now.Sub(l.renewedAt) < c.cfg.Lease && !now.Before(l.joinAt)\n",
		"	return c.cfg.Lease == 0 || !l.leaving && l.held && !now.Before(l.joinAt)\n",
	}},
	{"a page ends between two entries of one arrival", 10, "replication/cursor.go", []string{"	if n := len(rows); !complete && n > 0 {", "	if n := len(rows); false && n > 0 {"}},
	{"a new life is told of only when its marks did not come first", 22, "replication/siblings.go", []string{"		news = news || !s.met // it", "		news = news || !s.met && s.low == 0 // it"}},
}

// hintMutants lose what is only a hint: no promise hangs on it.
var hintMutants = []mutant{
	{"no reader is told that there is something new", 15, "sim/gateway.go", []string{"		if s.open && slices.ContainsFunc(owners, s.reads)", "		if false && slices.ContainsFunc(owners, s.reads)"}},
}

// clientMutants are of what clients do: again, elsewhere, with a client id that they used before.
var clientMutants = []mutant{
	{"a client forgets at level region", 2, "sim/client.go", []string{"	if m.zone || spec.MaxLevel() == chat.AckRegion {", "	if spec.MaxLevel() != \"\" {"}},
	{"what the recipient's side told of counts as the send before", 45, "replication/submit.go", []string{
		"		return !c.cfg.Topology.InZone(r.Stream.Region, h.in.Op.Author.Zone)\n	})\n	if len(rows)", "		return false\n	})\n	if len(rows)",
	}},
	{"an idle stream does not tell its watermark", 13, "replication/sender.go", []string{
		"	if !o.reading && o.scanned == o.log.settled && now", "	if !o.reading && o.scanned > o.log.settled && now",
	}},
	{"another text under a client id is answered with the first ack", 4, "replication/submit.go", []string{
		"	if i < 0 {\n		c.answer(now, h, Submitted{Err: &chat.Error{Code: chat.CodeClientIDReused,",
		"	if i < 0 {\n		op.ID, op.Time = rows[0].ID, rows[0].ID.Time()\n		c.answer(now, h, Submitted{Op: op, Known: true, ZoneDurable: true})\n		return\n	}\n	if i < 0 {\n		c.answer(now, h, Submitted{Err: &chat.Error{Code: chat.CodeClientIDReused,",
	}},
	{"the key of a send is without its text", 44, "replication/apply.go", []string{
		"	return row.Conversation == op.Conversation && row.BodyHash == contentHash(op)\n", "	return row.Conversation == op.Conversation\n",
	}},
}
