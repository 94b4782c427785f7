package sim

// nodeMutants are of what several nodes of one region need.
var nodeMutants = []mutant{
	{"low marks of other nodes ignored", 10, "replication/marks.go", []string{"local := min(own, c.siblingsLow())", "local := own"}},
	{"a dead node is dropped from the minimum", 11, "replication/siblings.go", []string{
		"leased && !s.finished {\n			low = min(low, s.low)", "leased && !s.finished && c.cfg.Lease == 0 {\n			low = min(low, s.low)",
	}},
	{"the adopter does not wait for the lease", 22, "replication/adopt.go", []string{
		"chat.HLCFromTime(now.Add(-c.cfg.AdoptWait))", "chat.HLCFromTime(now.Add(c.cfg.Lease))",
	}},
	{"what is written after a lease is told as shown", 22, "replication/siblings.go", []string{"			if c.knowsStreams && c.certain(now) {", "			if c.knowsStreams {"}},
	{"a late answer renews the lease", 22, "replication/siblings.go", []string{"	if in.Until != l.askedFor {\n", "	if false {\n"}},
	{"an ended op log is not relayed", 22, "replication/adopt.go", []string{"	c.relay(log, positions, in.Tail)\n", ""}},
	{"two nodes' writes are not reviewed", 43, "replication/review.go", []string{"	if c.cfg.Lease == 0 || len(items) == 0 {", "	if true {"}},
	{"only the latest life of a node counts", 22, "replication/marks.go", []string{"	for _, s := range p.streams {\n", "	for _, s := range p.streams {\n		earlier := false\n		for id := range p.streams {\n			earlier = earlier || id.Node == s.id.Node && id.Incarnation > s.id.Incarnation\n		}\n		if earlier {\n			continue\n		}\n"}},
	{"watermarks count before the region's mark covers them", 10, "replication/marks.go", []string{"s.covers.at(local)", "s.covers.at(endOfStream)"}},
	{"a send does not follow its predecessor's stamp", 45, "replication/submit.go", []string{
		"	if err := c.clock.Observe(now, rows[0].ID.Time()); err != nil {", "	if err := error(nil); err != nil {",
	}},
	{"what the dead left half done is not applied anew", 6, "replication/adopt.go", []string{"	if len(s.tail) == 0 || !c.mayStamp(now) {", "	if s.tail = nil; len(s.tail) == 0 || !c.mayStamp(now) {"}},
	{"a send repeated at another node stays behind", 45, "replication/submit.go", []string{
		"	if row.Stream.Region != c.cfg.Self || row.Stream == c.stream {\n", "	if true {\n",
	}},
	{"late rows of the dead are not looked for", 21, "replication/adopt.go", []string{"	if c.logs[s.row.Stream] == nil || s.late.reading || ", "	if true || "}},
}
