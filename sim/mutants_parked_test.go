package sim

// parkedMutants are of what cannot be applied yet.
var parkedMutants = []mutant{
	{"an op ahead of the clock becomes a dead letter", 17, "replication/receiver.go", []string{
		"		if !c.park(now, p, s, it, why, d) {\n			return false\n		}\n",
		"		it.refused = &chat.Error{Code: why}\n",
	}},
	{"what is parked does not hold the watermark", 10, "replication/parking.go", []string{
		"				mark = min(mark, list[i].logged-1)\n", "",
	}},
	{"a stream is taken over without what is parked of it", 17, "replication/parked_read.go", []string{
		"return s.told <= s.durable || s.parking.knownTold >= s.told }", "return true }",
	}},
	{"a restart forgets what is parked", 17, "replication/core.go", []string{"	c.meetParked(restored.Parked)\n", ""}},
	{"what follows a parked op overtakes it", 17, "replication/receiver.go", []string{
		"	if _, waits := s.parking.first(d); waits || c.busy(&it.op) {", "	if c.busy(&it.op) {",
	}},
	{"what another node parked does not hold the end of a stream", 17, "replication/parked_read.go", []string{
		"	if k := &s.parking; s.heard != endOfStream && k.endAfter == 0 && !k.ends {\n		k.endAfter = k.asks + 1\n	}\n", "	s.end()\n",
	}},
	{"what is parked waits for who brings its stream", 17, "replication/parked_read.go", []string{" || c.cfg.Lease == 0 || now.Sub(k.ripeSince) >= parkedGrace", ""}},
	{"a parked op is not kept for others", 40, "replication/parking.go", []string{"	c.keep(&it.op, d)\n	return true\n", "	return true\n"}},
	{"an op of an unknown kind becomes a dead letter", 27, "replication/receiver.go", []string{
		"	if op.Kind != 0 && !knownKind(op.Kind) {\n", "	if op.Kind != 0 && !knownKind(op.Kind) && false {\n",
	}},
	{"an op of an unknown kind does not hold the watermark", 10, "replication/parking.go", []string{
		"{s.parking.waiting, s.parking.unknown, s.parking.leaving}", "{s.parking.waiting, s.parking.leaving}",
	}},
	{"what was parked is applied without looking for its send", 3, "replication/parked_read.go", []string{
		"		it.known = in.Known[i]\n", "",
	}},
	{"what was parked leaves its table before it is shown", 22, "replication/parking.go", []string{
		"		return &draft{}\n	}\n	return d\n", "		return d\n	}\n	return d\n",
	}},
}
