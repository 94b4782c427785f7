package sim

// clockMutants are of what keeps a clock that is wrong from harming anybody.
var clockMutants = []mutant{
	{"a clock that is off is not noticed", 17, "replication/drift/drift.go", []string{
		"{ return m.off.Abs() > g.opt.MaxDrift+m.uncertain }", "{ return m.off.Abs() < 0 }",
	}},
	{"a clock that jumps is not noticed", 17, "replication/drift/drift.go", []string{"	jumped := step.Abs() > g.opt.MaxDrift\n", "	jumped := step.Abs() < 0\n"}},
	{"a clock that jumped is gone by", 17, "replication/drift/drift.go", []string{"		j.Now = g.own(r)\n", "		j.Now = r.Wall\n"}},
	{"a node that starts believes its clock", 17, "replication/drift/drift.go", []string{"	waited := g.waited(r)\n", "	g.standing = Trusted\n	waited := true\n"}},
	{"what starts stamps before the time is known", 17, "replication/core.go", []string{"	} else if c.clocked.unknown {\n", "	} else if false {\n"}},
}
