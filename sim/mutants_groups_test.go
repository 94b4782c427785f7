package sim

// groupMutants are of groups, and of what is done to messages.
var groupMutants = []mutant{
	{"what is done to an alias is dropped", 3, "replication/view.go", []string{"c.Kind == chat.ChangeAlias && c.Target == id {", "c.Kind == chat.ChangeAlias && c.Target == id && false {"}},
	{"membership is asked at the send only", 32, "replication/members.go", []string{
		"	return m.Sees(reader, t) && m.MayWrite(sender, t)\n", "	return true\n",
	}},
	{"a zone that comes in is filled once, by who brought it in", 41, "replication/receiver.go", []string{
		"	if len(ofGroups(d.ops)) > 0 || len(d.words) > 0 {\n", "	if len(d.words) > 0 {\n",
		"			c.lookIfAny(now, ofGroups(d.ops), func", "			c.lookIfAny(now, nil, func",
	}},
	{"a zone that comes in is not told who is in the group", 33, "replication/look.go", []string{
		"	l.out = append(l.out, c.rowsOps(g, b)...)\n", "",
	}},
	{"what lacks a zone is not logged anew", 41, "replication/look.go", []string{
		"	if !c.cfg.Topology.InZone(c.cfg.Self, op.Author.Zone) {\n		return // its author's regions do it\n	}\n	var to []chat.Region\n", "	if true {\n		return\n	}\n	var to []chat.Region\n",
	}},
	{"a message of a group costs a copy per member", 33, "replication/members.go", []string{
		"		owners = append(owners, chat.GroupOwner(conversation, zone))\n", "		for _, p := range m.List() {\n			if p.User.Zone == zone {\n				owners = append(owners, p.User)\n			}\n		}\n",
	}},
	{"a deletion needs its message", 9, "sim/memstore/groups.go", []string{
		"		k := changeKey{target: row.Target,", "		if _, ok := t.messages[mailbox{row.Owner, row.Conversation}][row.Target]; !ok && row.Kind == chat.ChangeDelete {\n			continue\n		}\n		k := changeKey{target: row.Target,",
	}},
	{"the last edit to arrive wins", 8, "sim/memstore/groups.go", []string{
		"		if old, ok := m[k]; ok && !(row.Version > old.Version || row.Version == old.Version && row.Op.Compare(old.Op) > 0) {\n", "		if false {\n",
	}},
	{"membership counts from its arrival", 42, "replication/apply_group.go", []string{
		"User: user, Op: op.ID, Role: role,", "User: user, Op: chat.NewMessageID(a.next(), op.Author.ID, op.Client), Role: role,",
	}},
}
