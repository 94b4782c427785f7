package sim

// refusalMutants are of what can never be applied, and of the news of that.
var refusalMutants = []mutant{
	{"a poison op stops its stream", 24, "replication/poison.go", []string{"	if u.seq != op.Seq || u.tries < buryTries {", "	if true {"}},
	{"a write that failed for now has its op buried", 24, "replication/poison.go", []string{
		"	if !permanent(chat.CodeOf(err)) {\n		return\n	}\n", "",
		"	if u.seq != op.Seq || u.tries < buryTries {", "	if u.seq != op.Seq || u.tries < 1 {",
	}},
	{"nobody is told what was buried", 24, "replication/refusal.go", []string{"		c.sayRefused(now, p, it, d)\n	} else {", "	} else {"}},
	{"a word is believed about what was not brought", 24, "replication/refusal.go", []string{" || !concerns(op, from) {", " {"}},
	{"the news stays in the region that brought the op", 24, "replication/refusal.go", []string{
		"&relogged{op: n, to: to,", "&relogged{op: n, to: to[:0],",
	}},
}
