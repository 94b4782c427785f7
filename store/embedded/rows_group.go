package embedded

import (
	"slices"

	"meridian/chat"
)

// The values of the rows of groups and of changes of messages; rows.go says how values decide.

func packChange(c *chat.ChangeRow) []byte {
	w := newValue(8 + 16 + 1 + 16 + len(c.OwnerZone) + len(c.Body) + 8)
	w.u64(uint64(c.Version))
	w.id(c.Op.Ord())
	w.u8(flag(c.On))
	w.id(c.Client)
	w.text(string(c.OwnerZone))
	w.bytes(c.Body)
	return w.b
}

func unpackChange(k, v []byte) (chat.ChangeRow, error) {
	r, err := open("changes", v)
	if err != nil {
		return chat.ChangeRow{}, err
	}
	kr := reader{b: k[1:]}
	c := chat.ChangeRow{Owner: kr.id(), Conversation: kr.id(), Target: chat.MessageIDFromOrd(kr.id()), Kind: chat.ChangeKind(kr.u8()), User: kr.id()}
	if !c.Kind.Each() {
		c.Emoji = string(kr.b)
	}
	c.Version, c.Op, c.On, c.Client = chat.HLC(r.u64()), chat.MessageIDFromOrd(r.id()), r.u8() == 1, r.id()
	c.OwnerZone, c.Body = chat.Zone(r.text()), r.copied()
	r.bad = r.bad || kr.bad
	return c, r.end("changes")
}

func packGroup(g *chat.GroupRow) []byte {
	w := newValue(1 + 16 + 16 + len(g.ByZone) + len(g.Name) + 4)
	w.u8(flag(g.Made))
	w.id(g.By)
	w.id(g.Client)
	w.text(string(g.ByZone))
	w.text(g.Name)
	return w.b
}

func unpackGroup(k, v []byte) (chat.GroupRow, error) {
	r, err := open("groups", v)
	if err != nil {
		return chat.GroupRow{}, err
	}
	kr := reader{b: k[1:]}
	g := chat.GroupRow{Owner: kr.id(), Conversation: kr.id(), Op: chat.MessageIDFromOrd(kr.id())}
	g.Made, g.By, g.Client = r.u8() == 1, r.id(), r.id()
	g.ByZone, g.Name = chat.Zone(r.text()), r.text()
	r.bad = r.bad || kr.bad
	return g, r.end("groups")
}

func packMember(m *chat.MemberRow) []byte {
	w := newValue(2 + 16 + 16 + len(m.ByZone) + len(m.User.Zone) + len(m.User.Name) + 6)
	w.u8(byte(m.Role))
	w.u8(flag(m.Made))
	w.id(m.By)
	w.id(m.Client)
	w.text(string(m.ByZone))
	w.text(string(m.User.Zone))
	w.text(m.User.Name)
	return w.b
}

func unpackMember(k, v []byte) (chat.MemberRow, error) {
	r, err := open("members", v)
	if err != nil {
		return chat.MemberRow{}, err
	}
	kr := reader{b: k[1:]}
	m := chat.MemberRow{Owner: kr.id(), Conversation: kr.id(), User: chat.Owner{ID: kr.id()}, Op: chat.MessageIDFromOrd(kr.id())}
	m.Role, m.Made, m.By, m.Client = chat.Role(r.u8()), r.u8() == 1, r.id(), r.id()
	m.ByZone = chat.Zone(r.text())
	m.User.Zone, m.User.Name = chat.Zone(r.text()), r.text()
	r.bad = r.bad || kr.bad
	return m, r.end("members")
}

// memberHead gives which step it was and to what role, without the rest.
func memberHead(k, v []byte) (op chat.MessageID, role chat.Role, err error) {
	r, err := open("members", v)
	if err != nil {
		return op, role, err
	}
	kr := reader{b: k[1+3*16:]}
	op, role = chat.MessageIDFromOrd(kr.id()), chat.Role(r.u8())
	if r.bad || kr.bad {
		err = (&reader{bad: true}).end("members")
	}
	return op, role, err
}

// packGroupZone stores the complement, since the smaller time stays.
func packGroupZone(z *chat.GroupZoneRow) []byte { return packNumber(^uint64(z.Since)) }

func unpackGroupZone(k, v []byte) (chat.GroupZoneRow, error) {
	n, err := unpackNumber("groupzones", v)
	kr := reader{b: k[1:]}
	z := chat.GroupZoneRow{Conversation: kr.id(), Since: chat.HLC(^n)}
	z.Zone = chat.Zone(kr.b)
	return z, err
}

func packParked(p *chat.ParkedRow, codec chat.OpCodec) []byte {
	w := newValue(128 + len(p.Op.Body))
	w.text(string(p.Reason))
	w.b = codec.Append(w.b, &p.Op)
	return w.b
}

func unpackParked(v []byte, codec chat.OpCodec) (chat.ParkedRow, error) {
	r, err := open("parked", v)
	if err != nil {
		return chat.ParkedRow{}, err
	}
	p := chat.ParkedRow{Reason: chat.Code(r.text())}
	if r.bad {
		return p, r.end("parked")
	}
	p.Op, err = codec.Decode(slices.Clone(r.b))
	return p, err
}
