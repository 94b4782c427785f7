package sim

// mergeMutants are of what reads a log, and of what a store does with rows that come in any order.
var mergeMutants = []mutant{
	{"stable time read after the log", 10, "sim/gateway.go", []string{
		"	s.reading, s.again = true, false\n", "	s.reading, s.again = true, false\n	early, all := n.inbox(s.client.user.id, after, ^chat.HLC(0))\n",
		"		rows, complete := n.inbox(s.client.user.id, after, upTo)\n", "		_, _, _ = s.reader.Query(n.marks())\n		rows, complete, _ := early, all, upTo\n",
	}},
	{"cursor = largest message id", 10, "replication/cursor.go", []string{
		"		r.after = max(r.after, rows[i].Arrival)\n", "		r.after = max(r.after, rows[i].Arrival)\n		r.global = max(r.global, rows[i].Op.Time())\n",
	}},
	{"a late row keeps its old stamp", 12, "replication/receiver.go", []string{
		"	arrival := c.clock.Next(now)\n", "	arrival := it.op.Logged\n",
	}},
	{"the parent's time is not merged", 16, "replication/submit.go", []string{"range h.in.After {", "range h.in.After[:0] {"}},
	{"the last to write a read mark wins", 18, "sim/memstore/tables.go", []string{"		if m[k].Compare(row.UpTo) < 0 {", "		if true {"}},
	{"the last to write an account wins", 8, "sim/memstore/tables.go", []string{
		"		if old, ok := t.accounts[a.ID]; !ok || newer(a.Version, old.Version, a, old) {", "		if true {",
	}},
	{"the retry row is one cell", 43, "sim/memstore/tables.go", []string{"insert(t.retries[k], row, compareRetry)", "[]chat.RetryRow{row}"}},
	{"aliases are not told", 3, "replication/apply.go", []string{
		"		a.inbox(owner, at, op, chat.InboxRow{Kind: chat.InboxAlias, Op: loser, Conversation: op.Conversation, Ref: winner})\n", "		_ = at\n",
	}},
}
