package sim

// survivorMutants are of what is left when a region is lost, and of what cannot be applied, now or ever.
var survivorMutants = []mutant{
	{"nobody tells what it has of a silent region", 40, "replication/handon.go", []string{"		if c.cfg.ForwardAfter == 0 || ", "		if true || "}},
	{"what was received is not kept to be handed on", 40, "replication/handon.go", []string{"		if r != c.cfg.Self {", "		if r != c.cfg.Self && false {"}},
	{"survivors hand on inside the author's zone only", 40, "residency/residency.go", []string{
		"	switch op.Kind {\n	case chat.OpMessage, chat.OpChange", "	switch op.Kind + 128 {\n	case chat.OpMessage, chat.OpChange",
	}},
	{"what the recipient's side brought counts as sent", 40, "replication/submit.go", []string{"	if own < 0 || ", "	if own = max(own, 0); false && "}},
}
