package sim

// outboxMutants are of what waits for a region that is away: how much it may be, and how long it is kept.
var outboxMutants = []mutant{
	{"the budget is not asked", 26, "replication/budget.go", []string{"	if c.cfg.OutboxBytes == 0 || vital(&h.in.Op) {", "	if true {"}},
	{"what a budget refuses is acknowledged", 26, "replication/budget.go", []string{
		"	p.refusedCount++\n", "	p.refusedCount++\n	if op := h.in.Op; after > 0 {\n		op.Time = c.clock.Next(now)\n		op.ID = chat.NewMessageID(op.Time, op.Author.ID, op.Client)\n		c.answer(now, h, Submitted{Op: op})\n		return\n	}\n",
	}},
	{"what is acknowledged goes on to count", 26, "replication/sender.go", []string{"	o.owed.acked(upTo)\n", ""}},
	{"a restart forgets what is owed", 26, "replication/outbound.go", []string{"		log.recount.at = min(log.recount.at, at)\n", ""}},
	{"who was slowed is never answered", 26, "replication/core.go", []string{"	c.readySlowed(now)\n", ""}},
	{"an own op log's rows go by age alone", 23, "sim/memstore/sweep.go", []string{"waits := slices", "waits := stream.Region != t.region && slices"}},
	{"what is kept for others goes by age alone", 23, "sim/memstore/sweep.go", []string{"waits := slices", "waits := stream.Region == t.region && slices"}},
	{"what was only sent may go", 23, "replication/core.go", []string{
		"			if o.acked > o.persisted {", "			if o.sent > o.persisted {", "To: r, Seq: o.acked})", "To: r, Seq: o.sent})",
	}},
}
