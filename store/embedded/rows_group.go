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
	if !manyOf(c.Kind) {
		c.Emoji = string(kr.b)
	}
	c.Version, c.Op, c.On, c.Client = chat.HLC(r.u64()), chat.MessageIDFromOrd(r.id()), r.u8() == 1, r.id()
	c.OwnerZone, c.Body = chat.Zone(r.text()), r.copied()
	r.bad = r.bad || kr.bad
	return c, r.end("changes")
}

// packGroup keeps two parts, each with its length: who made the group and when; what it is called.
func packGroup(g *chat.GroupRow) []byte {
	maker, name := &writer{}, &writer{}
	maker.u64(uint64(g.Made))
	maker.owner(g.Maker)
	name.u64(uint64(g.Version))
	name.id(g.Op.Ord())
	name.id(g.By)
	name.text(g.Name)
	return joinGroup(maker.b, name.b)
}

func joinGroup(maker, name []byte) []byte {
	w := newValue(len(maker) + len(name) + 4)
	w.bytes(maker)
	w.bytes(name)
	return w.b
}

type groupParts struct{ maker, name []byte }

func splitGroup(v []byte) (groupParts, error) {
	r, err := open("groups", v)
	if err != nil {
		return groupParts{}, err
	}
	p := groupParts{maker: r.bytes(), name: r.bytes()}
	return p, r.end("groups")
}

func unpackGroup(owner chat.UserID, conv chat.ConversationID, v []byte) (chat.GroupRow, error) {
	p, err := splitGroup(v)
	if err != nil {
		return chat.GroupRow{}, err
	}
	maker, name := reader{b: p.maker}, reader{b: p.name}
	g := chat.GroupRow{
		Owner: owner, Conversation: conv, Made: chat.HLC(maker.u64()), Maker: maker.owner(),
		Version: chat.HLC(name.u64()), Op: chat.MessageIDFromOrd(name.id()), By: name.id(), Name: name.text(),
	}
	if err := maker.end("groups"); err != nil {
		return g, err
	}
	return g, name.end("groups")
}

func packMember(m *chat.MemberRow) []byte {
	w := newValue(2 + 16 + len(m.User.Zone) + len(m.User.Name) + 4)
	w.u8(byte(m.Role))
	w.u8(flag(m.Made))
	w.id(m.By)
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
	m.Role, m.Made, m.By = chat.Role(r.u8()), r.u8() == 1, r.id()
	m.User.Zone, m.User.Name = chat.Zone(r.text()), r.text()
	r.bad = r.bad || kr.bad
	return m, r.end("members")
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
