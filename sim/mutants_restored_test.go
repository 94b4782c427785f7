package sim

// restoredMutants are of a region that comes back with an old copy of its store.
var restoredMutants = []mutant{
	{"a restored store goes on in its old life", 28, "replication/siblings.go", []string{
		"	return chat.Incarnation(max(1, now.UnixMicro()))\n", "	return 0\n",
	}},
	{"what a region lost with its store is taken for acknowledged", 28, "replication/sender.go", []string{
		"	if upTo < o.acked {\n		c.retreatAck(o, upTo)\n	}\n", "",
	}},
	{"a restored region serves at once", 29, "replication/catchup.go", []string{
		"		done = !c.awaits(now, c.peers[r]) && done\n", "		_ = r\n",
	}},
}
