package sim

// coreMutants are of one node per region and direct conversations.
var coreMutants = []mutant{
	{"what failed is relayed", 20, "replication/own.go", []string{"		if o.failed {\n", "		if false {\n"}},
	{"ack to the client before durable", 1, "replication/submit.go", []string{
		"	c.enter(now, op, nil, func(now time.Time, entered chat.Op, err error) {\n		if err", "	c.answer(now, h, Submitted{Op: op})\n	c.enter(now, op, nil, func(now time.Time, entered chat.Op, err error) {\n		if true {\n			return\n		}\n		if err",
	}},
	{"ack to the peer on receipt", 25, "replication/receiver.go", []string{
		"	if f.UpTo > f.After && f.UpTo <= s.durable {\n		c.ack(now, s) // its ack may be lost\n	}\n", "	c.ack(now, s)\n",
		"UpTo: s.durable}})\n}\n\n// drainPeer", "UpTo: s.accepted}})\n}\n\n// drainPeer",
	}},
	{"watermark on receipt, not after the durable apply", 10, "replication/receiver.go", []string{
		"	s.enqueue(fr)\n", "	s.enqueue(fr)\n	s.watermark = max(s.watermark, fr.watermark)\n",
	}},
	{"watermark when durable, though Local does not cover it", 10, "replication/receiver.go", []string{
		"	s.hear(d.watermark)\n	for _, row", "	s.hear(d.watermark)\n	s.watermark = s.next\n	for _, row",
	}},
	{"cursor = largest arrival seen", 10, "replication/cursor.go", []string{
		"		r.after = max(r.after, rows[i].Arrival)\n", "		r.after = max(r.after, rows[i].Arrival)\n		r.global = r.after\n",
	}},
	{"applying does not push the clock", 10, "replication/receiver.go", []string{"	_ = c.clock.Observe(now, it.op.Logged)\n", ""}},
	{"own writes in flight ignored in Local", 10, "replication/marks.go", []string{"	if len(c.flight) > 0 {", "	if len(c.flight) > 1<<30 {"}},
	{"sent watermark ignores writes in flight", 10, "replication/marks.go", []string{"	if len(log.flight) > 0 {", "	if len(log.flight) > 1<<30 {"}},
	{"Global leaves out one origin", 10, "replication/marks.go", []string{"range c.order {", "range c.order[1:] {"}},
	{"receiver without retry map", 3, "replication/receiver.go", []string{"c.sends.known(key, ofKey(it.known, key))...)", "c.sends.known(key, ofKey(it.known, key))[:0]...)"}},
	{"the largest id wins", 3, "replication/apply.go", []string{"id.Compare(winner) < 0", "id.Compare(winner) > 0"}},
	{"after ignored", 45, "replication/submit.go", []string{"	if h.in.Previous == chat.NoClient {", "	if true {"}},
	{"zone ack when the frame left", 2, "replication/sender.go", []string{"	o.sent, o.sentAt = upTo, now\n", "	o.sent, o.sentAt = upTo, now\n	c.zoneAcked(now, o.log.stream, p.region, upTo)\n"}},
	{"two applies of one stream under way", 25, "replication/receiver.go", []string{"	if s.applying || s.idle() || ", "	if s.idle() || "}},
	{"two writes of one send under way", 43, "replication/held.go", []string{"	return ok && st.busy\n", "	return ok && st.busy && false\n"}},
	{"a failure after doubt settles", 7, "replication/writes.go", []string{"(w.doubtful || chat.CodeOf(in.Err) == chat.CodeUnknownOutcome)", "chat.CodeOf(in.Err) == chat.CodeUnknownOutcome"}},
	{"unknown outcome taken for failed", 7, "replication/writes.go", []string{"	if in.Err != nil && (w.doubtful", "	if false && (w.doubtful"}},
	{"a restart forgets the high-water mark", 17, "replication/core.go", []string{"	c.clock.Restore(id.HighWater)\n", ""}},
	{"a log read overtaken by an ack is sent whole", 25, "replication/sender.go", []string{"ops[0].Seq <= o.sent {", "ops[0].Seq == 0 {"}},
	{"resume from the sender's memory", 25, "replication/sender.go", []string{"	o.rewind(now, upTo)\n	o.sentAt", "	o.rewind(now, max(upTo, o.sent))\n	o.sentAt"}},
	{"the sender's residency is not asked", 34, "replication/submit.go", []string{"if d := residency.Write(c.cfg.Topology, op.Author.Zone, owner.Zone); !d.Allowed() {", "if d := residency.Write(c.cfg.Topology, op.Author.Zone, owner.Zone); false {"}},
}
