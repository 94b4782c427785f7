package replication

import (
	"crypto/sha256"
	"slices"
	"time"

	"meridian/chat"
)

// A group gains a zone while others write to it. Whoever did not know yet leaves the new zone out of an op's owners, and
// when the zone came in, what was written meanwhile lies elsewhere. So after every write that concerns a group the node
// looks what the group has become. It writes first and reads then: of two that race, at least the later one sees both.
//
//   - An op whose owners lack a zone that the group had at the op's time is logged anew, for that zone's regions. So is a
//     step of membership, whatever its time: the zone cannot tell who is in the group without it.
//   - So is a message from before the zone came in, when it has another id from after: the zone would show that one.
//   - When the op is the step that brought the zone in, the zone gets all steps, and what was written since, by authors for
//     whom this region may speak.
//
// Every region that has the group does so: it costs a few ops that come twice, and no region is waited for. A position in a
// foreign stream becomes durable only after the look at its ops, so that a crash in between has them come, and be
// looked at, again; of the own stream, and of one that is adopted, the last ops are looked at.

// lookPage bounds the messages of a group that are read at once for a zone that came in.
const lookPage = 128

// look is a look at the groups that some ops concern.
type look struct {
	id      uint64
	ops     []chat.Op
	others  map[chat.MessageID][]chat.MessageID // of a message that is known under other ids too, these
	queries []GroupQuery
	brings  map[chat.ConversationID]*bring
	out     []chat.Op // to be logged anew
	own     bool      // the ops are of the own stream, or of one that was adopted
	// done is told when nothing is left but to log the rest of out, which it does.
	done   func(now time.Time, out []chat.Op)
	redoAt time.Time // after a failed read or write; zero while under way
}

// bring is what zones that came into a group get.
type bring struct {
	members *Members
	zones   []broughtZone
}

// broughtZone is one of them: to its regions goes what was written from since on.
type broughtZone struct {
	since chat.HLC
	to    []chat.Region
}

// groupOf gives the group that the op concerns.
func groupOf(op *chat.Op) (chat.ConversationID, bool) {
	switch op.Kind {
	case chat.OpMessage, chat.OpMark, chat.OpChange, chat.OpGroup, chat.OpMember:
		id := conversationOf(op)
		return id, isGroupOwner(op.Owners[0], id)
	}
	return chat.NoConversation, false
}

// conversationOf gives the conversation that the op concerns.
func conversationOf(op *chat.Op) chat.ConversationID {
	if op.Kind == chat.OpMark {
		return op.Mark.Conversation
	}
	return op.Conversation
}

// isStep says whether the op changes who is in a group.
func isStep(op *chat.Op) bool { return op.Kind == chat.OpGroup || op.Kind == chat.OpMember }

// ofGroups gives those of ops that concern groups.
func ofGroups(ops []chat.Op) []chat.Op {
	var list []chat.Op
	for i := range ops {
		if _, ok := groupOf(&ops[i]); ok {
			list = append(list, ops[i])
		}
	}
	return list
}

// look looks at the groups that ops, which are durable, concern. done gets what is to be logged anew.
func (c *Core) look(ops []chat.Op, done func(now time.Time, out []chat.Op)) {
	c.lastLook++
	l := &look{id: c.lastLook, ops: ops}
	l.done = func(now time.Time, out []chat.Op) {
		delete(c.looks, l.id)
		done(now, out)
	}
	c.looks[l.id] = l
	c.beginLook(l)
}

// lookIfAny is look, where there may be nothing to look at.
func (c *Core) lookIfAny(now time.Time, ops []chat.Op, done func(now time.Time, out []chat.Op)) {
	if len(ops) == 0 {
		done(now, nil)
		return
	}
	c.look(ops, done)
}

// lookOwn looks at ops of the own stream; a failure has it done again.
func (c *Core) lookOwn(ops []chat.Op) {
	if len(ops) == 0 {
		return
	}
	c.lastLook++
	l := &look{id: c.lastLook, ops: ops, own: true}
	l.done = func(now time.Time, out []chat.Op) {
		if len(out) == 0 {
			delete(c.looks, l.id)
			return
		}
		c.logAnew(now, &chat.Batch{}, out, func(now time.Time, err error) {
			if err != nil {
				l.redoAt = now.Add(pause)
				return
			}
			delete(c.looks, l.id)
		}, nil)
	}
	c.looks[l.id] = l
	c.beginLook(l)
}

// unlooked is a time before all own ops that are not looked at, or not reviewed, yet: who adopts this life does that with what
// comes after.
func (c *Core) unlooked() chat.HLC {
	low := ^chat.HLC(0)
	for _, r := range c.reviews {
		for i := range r.items {
			if op := &r.items[i].op; op.Stream == c.stream {
				low = min(low, op.Logged-1)
			}
		}
	}
	for _, l := range c.looks {
		for i := range l.ops {
			if l.own {
				low = min(low, l.ops[i].Logged-1)
			}
		}
	}
	return low
}

// beginLook asks what the groups are now, from the start.
func (c *Core) beginLook(l *look) {
	l.redoAt, l.queries, l.out, l.brings = time.Time{}, nil, nil, map[chat.ConversationID]*bring{}
	l.others = map[chat.MessageID][]chat.MessageID{}
	for i := range l.ops {
		id, _ := groupOf(&l.ops[i])
		q := slices.IndexFunc(l.queries, func(q GroupQuery) bool { return q.Conversation == id })
		if q < 0 {
			q = len(l.queries)
			l.queries = append(l.queries, GroupQuery{Conversation: id})
		}
		l.queries[q].Members = l.queries[q].Members || isStep(&l.ops[i])
	}
	c.emit(Look{ID: l.id, Groups: l.queries, Sends: keysOf(l.ops)})
}

// keysOf gives the sends among ops, in their order.
func keysOf(ops []chat.Op) []SendKey {
	var keys []SendKey
	for i := range ops {
		if ops[i].Kind == chat.OpMessage {
			keys = append(keys, SendKey{ops[i].Author.ID, ops[i].Client})
		}
	}
	return keys
}

// meets notes under which other ids the messages are known, by their stored retry rows.
func (l *look) meets(sends [][]chat.RetryRow) {
	for i := range l.ops {
		op := &l.ops[i]
		if op.Kind != chat.OpMessage || len(sends) == 0 {
			continue
		}
		for _, row := range sends[0] {
			if row.ID != op.ID && sameContent(&row, op) {
				l.others[op.ID] = append(l.others[op.ID], row.ID)
			}
		}
		sends = sends[1:]
	}
}

// looked takes what was read, and asks for more, or ends the look.
func (c *Core) looked(now time.Time, in Looked) {
	l, ok := c.looks[in.ID]
	if !ok || !l.redoAt.IsZero() {
		return
	}
	if in.Err != nil {
		c.alarm(Alarm{Code: chat.CodeOf(in.Err), Stream: c.stream, Detail: "cannot read a group: " + in.Err.Error()})
		l.redoAt = now.Add(pause)
		return
	}
	if !c.mayStamp(now) || c.ahead(now) {
		l.redoAt = now.Add(pause) // what is logged anew could not be stamped
		return
	}
	l.meets(in.Sends)
	asked := l.queries
	l.queries = nil
	for i := range in.Groups {
		if i < len(asked) {
			c.weigh(l, asked[i], &in.Groups[i])
		}
	}
	if len(l.queries) == 0 {
		l.done(now, l.out)
		return
	}
	if len(l.out) == 0 {
		c.emit(Look{ID: l.id, Groups: l.queries})
		return
	}
	out := l.out
	l.out = nil
	c.logAnew(now, &chat.Batch{}, out, func(now time.Time, err error) {
		if err != nil {
			l.redoAt = now.Add(pause)
			return
		}
		c.emit(Look{ID: l.id, Groups: l.queries})
	}, nil)
}

// lately gives the restored ops of groups that a crash may have kept from being looked at.
func lately(restored Restored) []chat.Op {
	from := restored.Identity.HighWater.Add(-restoredFor)
	return slices.DeleteFunc(ofGroups(restored.Last), func(op chat.Op) bool { return op.Logged < from })
}

// tickLooks begins failed looks anew, and at first those that a crash cut off.
func (c *Core) tickLooks(now time.Time) {
	c.lookOwn(c.restored)
	c.restored = nil
	for _, id := range sortedKeys(c.looks) {
		if l := c.looks[id]; !l.redoAt.IsZero() && !now.Before(l.redoAt) {
			c.beginLook(l)
		}
	}
}

// weigh decides by one group's answer.
func (c *Core) weigh(l *look, q GroupQuery, g *GroupState) {
	switch {
	case q.Since != 0:
		c.bringPage(l, q, g)
	case q.Members:
		c.judge(l, g)
	case l.lacking(g):
		l.queries = append(l.queries, GroupQuery{Conversation: g.Conversation, Members: true})
	}
}

// lacking says whether an op of the group may lack a zone. The table is a hint only: whoever forges a step can add a zone
// to it, so the steps that count decide.
func (l *look) lacking(g *GroupState) bool {
	for i := range l.ops {
		op := &l.ops[i]
		if id, _ := groupOf(op); id != g.Conversation {
			continue
		}
		for _, row := range g.Zones {
			if row.Since <= l.until(op) && (!hasZone(op, row.Zone) || l.from(op) < row.Since) {
				return true
			}
		}
	}
	return false
}

// from gives the time of the smallest id of op.
func (l *look) from(op *chat.Op) chat.HLC {
	t := op.Time
	for _, id := range l.others[op.ID] {
		t = min(t, id.Time())
	}
	return t
}

// until gives the time from which on a zone that comes in need not have op: its own, or that of another of its ids.
func (l *look) until(op *chat.Op) chat.HLC {
	t := op.Time
	for _, id := range l.others[op.ID] {
		t = max(t, id.Time())
	}
	return t
}

func hasZone(op *chat.Op, zone chat.Zone) bool {
	return slices.ContainsFunc(op.Owners, func(o chat.Owner) bool { return isGroupOwner(o, conversationOf(op)) && o.Zone == zone })
}

// judge finds, by the steps that count, the ops that lack a zone, and the zones that came in with the ops.
func (c *Core) judge(l *look, g *GroupState) {
	after := NewMembers(g.Members)
	steps := map[chat.MessageID]bool{}
	for i := range l.ops {
		op := &l.ops[i]
		if id, _ := groupOf(op); id != g.Conversation {
			continue
		}
		if op.Kind == chat.OpMember { // an op that makes a group brings its zones all there is
			steps[op.ID] = true
		}
		c.complete(l, op, after)
		c.completeOthers(l, op, after)
	}
	if len(steps) == 0 {
		return
	}
	before := NewMembers(slices.DeleteFunc(slices.Clone(g.Members), func(row chat.MemberRow) bool { return steps[row.Op] }))
	b := &bring{members: after}
	since := ^chat.HLC(0)
	for _, zone := range after.Zones() {
		at, _ := after.ZoneSince(zone)
		if old, ok := before.ZoneSince(zone); ok && old <= at {
			continue
		}
		if to := c.newRegions(after, zone, at); len(to) > 0 {
			b.zones = append(b.zones, broughtZone{since: at, to: to})
			since = min(since, at)
		}
	}
	if len(b.zones) == 0 {
		return
	}
	l.brings[g.Conversation] = b
	l.out = append(l.out, c.rowsOps(g, b)...)
	l.queries = append(l.queries, GroupQuery{Conversation: g.Conversation, Since: since, Limit: lookPage})
}

// newRegions gives the regions of zone that serve no other zone that was in the group before it: they have nothing yet.
func (c *Core) newRegions(m *Members, zone chat.Zone, since chat.HLC) []chat.Region {
	var to []chat.Region
	for _, region := range c.cfg.Topology.Zones[zone].Regions {
		has := region == c.cfg.Self
		for _, other := range m.Zones() {
			at, _ := m.ZoneSince(other)
			has = has || at < since && c.cfg.Topology.InZone(region, other)
		}
		if !has {
			to = append(to, region)
		}
	}
	return to
}

// complete has op logged anew for the regions of zones that its owners lack.
func (c *Core) complete(l *look, op *chat.Op, m *Members) {
	if !c.cfg.Topology.InZone(c.cfg.Self, op.Author.Zone) {
		return // its author's regions do it
	}
	var to []chat.Region
	owners := slices.Clone(op.Owners)
	for _, zone := range m.Zones() {
		if since, _ := m.ZoneSince(zone); hasZone(op, zone) || since > l.until(op) && !isStep(op) {
			continue
		}
		owners = slices.Insert(owners, 0, chat.GroupOwner(chat.ConversationID(op.Owners[0].ID), zone))
		for _, region := range c.cfg.Topology.Zones[zone].Regions {
			if region != c.cfg.Self && !c.has(op, region) && !slices.Contains(to, region) {
				to = append(to, region)
			}
		}
	}
	if len(to) == 0 || len(owners) > chat.MaxOwners {
		return
	}
	again := *op
	slices.Sort(to)
	again.Owners, again.To = owners, to
	l.out = append(l.out, again)
}

// completeOthers has the smaller ids of op logged anew for the zones that came in after them, and not after the largest: what
// they get they must know as an alias, or as the one that stands.
func (c *Core) completeOthers(l *look, op *chat.Op, m *Members) {
	if !c.cfg.Topology.InZone(c.cfg.Self, op.Author.Zone) {
		return
	}
	for _, id := range l.others[op.ID] {
		again := *op
		again.ID, again.Time, again.To, again.Owners = id, id.Time(), nil, nil
		for _, zone := range m.Zones() {
			since, _ := m.ZoneSince(zone)
			if since > l.until(op) {
				continue
			}
			again.Owners = append(again.Owners, chat.GroupOwner(op.Conversation, zone))
			if id.Time() < since && since <= op.Time { // from an op of before, its own look: two such would call each other for ever
				again.To = append(again.To, c.cfg.Topology.Zones[zone].Regions...)
			}
		}
		slices.Sort(again.To)
		again.To = slices.DeleteFunc(slices.Compact(again.To), func(r chat.Region) bool { return r == c.cfg.Self })
		if len(again.To) > 0 && hasZone(&again, op.Author.Zone) {
			l.out = append(l.out, again)
		}
	}
}

// has says whether the region is one that op goes to, or came from.
func (c *Core) has(op *chat.Op, region chat.Region) bool {
	return op.Stream.Region == region || slices.Contains(op.To, region) ||
		slices.ContainsFunc(op.Owners, func(o chat.Owner) bool { return c.cfg.Topology.InZone(region, o.Zone) })
}

// rowsOps tell the regions that are new to a group what it is called and who is in it: what people did for whom this region may
// speak. The regions of the others do so too.
func (c *Core) rowsOps(g *GroupState, b *bring) []chat.Op {
	var to []chat.Region
	for _, z := range b.zones {
		to = append(to, z.to...)
	}
	slices.Sort(to)
	to = slices.Compact(to)
	mine := func(zone chat.Zone) bool { return c.cfg.Topology.InZone(c.cfg.Self, zone) }
	names := slices.DeleteFunc(slices.Clone(g.Names), func(row chat.GroupRow) bool { return !mine(row.ByZone) })
	steps := slices.DeleteFunc(slices.Clone(g.Members), func(row chat.MemberRow) bool { return !mine(row.ByZone) })
	op := chat.Op{
		Kind: chat.OpRows, Owners: b.members.Owners(g.Conversation), To: to, Conversation: g.Conversation,
		Rows: &chat.Rows{GroupZones: g.Zones, Marks: g.Marks[:min(len(g.Marks), maxRowsPerOp/2)]},
	}
	ops := []chat.Op{op}
	for part := range slices.Chunk(names, maxRowsPerOp/2) {
		op.Rows = &chat.Rows{Groups: part}
		ops = append(ops, op)
	}
	for part := range slices.Chunk(steps, maxRowsPerOp/2) {
		op.Rows = &chat.Rows{Members: part}
		ops = append(ops, op)
	}
	return ops
}

// bringPage makes ops of what was written since zones came in, and asks for what is older.
func (c *Core) bringPage(l *look, q GroupQuery, g *GroupState) {
	b := l.brings[q.Conversation]
	bodies := map[chat.MessageID][]byte{}
	for i := range g.Messages {
		bodies[g.Messages[i].ID] = g.Messages[i].Body
	}
	oldest := q.Before
	for i := range g.Messages {
		row := &g.Messages[i]
		if oldest == chat.NoMessage || row.ID.Compare(oldest) < 0 {
			oldest = row.ID
		}
		body := row.Body
		if row.AliasOf != chat.NoMessage {
			body = bodies[row.AliasOf]
		}
		if len(body) > 0 {
			c.anew(l, b, chat.Op{
				Kind: chat.OpMessage, ID: row.ID, Author: chat.Owner{ID: row.Sender, Name: row.SenderName}, Client: row.Client,
				Conversation: q.Conversation, ReplyTo: row.ReplyTo, Body: body,
			})
		}
	}
	for i := range g.Changes {
		if row := &g.Changes[i]; row.Kind != chat.ChangeAlias {
			c.anew(l, b, chat.Op{
				Kind: chat.OpChange, ID: row.Op, Author: chat.Owner{ID: row.User}, Client: row.Client, Conversation: q.Conversation,
				Body: row.Body, Change: &chat.Change{Kind: row.Kind, Target: row.Target, Emoji: row.Emoji, On: row.On},
			})
		}
	}
	if g.More {
		q.Before = oldest
		l.queries = append(l.queries, q)
	}
}

// anew has what op's author did logged anew for the regions that lack it.
func (c *Core) anew(l *look, b *bring, op chat.Op) {
	author, ok := b.members.User(op.Author.ID)
	if !ok || !c.cfg.Topology.InZone(c.cfg.Self, author.Zone) {
		return // its author's regions do it
	}
	op.Author.Zone = author.Zone
	if op.Author.Name == "" {
		op.Author.Name = author.Name
	}
	op.Time = op.ID.Time()
	for _, z := range b.zones {
		if z.since <= op.Time {
			op.To = append(op.To, z.to...)
		}
	}
	if len(op.To) == 0 {
		return
	}
	slices.Sort(op.To)
	op.To = slices.Compact(op.To)
	// Only zones that have it, or get it with this: who receives it must find which zones lack it.
	op.Owners = slices.DeleteFunc(b.members.Owners(op.Conversation), func(o chat.Owner) bool {
		since, _ := b.members.ZoneSince(o.Zone)
		return since > op.Time
	})
	if !hasZone(&op, author.Zone) {
		return // who wrote it was not in the group then, as it turned out
	}
	if hasText(&op) {
		op.BodyHash = sha256.Sum256(op.Body)
	}
	l.out = append(l.out, op)
}

// logAnew brings ops anew into the own stream: the same identity and time, a new sequence and time of entry, for the regions
// in their To; an op without an id begins here. They are written with batch, which may hold more. Nothing is applied here: this
// region has it all.
func (c *Core) logAnew(now time.Time, batch *chat.Batch, ops []chat.Op, settle func(now time.Time, err error), passed func(now time.Time)) {
	w := &write{batch: batch, low: c.clock.Next(now), passed: passed}
	own := make([]*ownOp, 0, len(ops))
	for _, op := range ops {
		if c.clock.Observe(now, op.Time) != nil {
			// The clock went back since the op was applied here: the region's readers know its time all the same.
			_ = c.clock.Observe(op.Time.Time(), op.Time)
		}
		op.Logged = c.clock.Next(now)
		if op.ID == chat.NoMessage {
			op.Time = op.Logged
			op.ID = chat.NewMessageID(op.Time, op.Owners[0].ID, op.Client)
		}
		c.own.last++
		op.Stream, op.Seq = c.stream, c.own.last
		batch.Log = append(batch.Log, chat.LogRow{Op: op})
		own = append(own, c.own.start(op))
	}
	w.settle = func(now time.Time, err error) {
		for _, o := range own {
			o.settled, o.failed = true, err != nil
		}
		c.own.advance(c.cfg.TailOps)
		settle(now, err)
	}
	c.issue(now, w)
}
