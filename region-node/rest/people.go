package rest

import (
	"net/http"

	"meridian/chat"
	"meridian/region-node/auth"
	"meridian/region-node/people"
	"meridian/region-node/wire"
)

func (h *handler) profile(w http.ResponseWriter, r *http.Request, _ auth.Claims) error {
	user, err := h.Auth.Profile(r.Context(), r.PathValue("username"))
	if err != nil {
		return err
	}
	out := wire.Profile{UserID: user.ID.String(), Username: user.Name}
	switch online, lastSeen := h.Presence.Lookup(r.Context(), user.ID); {
	case online:
		out.State = "online"
	case !lastSeen.IsZero():
		out.State, out.LastSeen = "offline", wire.Time(chat.HLCFromTime(lastSeen))
	}
	wire.WriteJSON(w, http.StatusOK, out)
	return nil
}

func contact(c people.Contact) wire.Contact {
	return wire.Contact{User: wire.UserOf(c.User), State: string(c.State), Since: wire.Time(c.Since)}
}

func (h *handler) contacts(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	n, err := limit(r)
	if err != nil {
		return err
	}
	after, err := idParam(r, "after")
	if err != nil {
		return err
	}
	list, next, err := h.People.Contacts(r.Context(), c.User, chat.UserID(after), n)
	if err != nil {
		return err
	}
	out := wire.Contacts{Contacts: []wire.Contact{}}
	for _, one := range list {
		out.Contacts = append(out.Contacts, contact(one))
	}
	if next != chat.NoUser {
		out.Next = next.String()
	}
	wire.WriteJSON(w, http.StatusOK, out)
	return nil
}

func (h *handler) putContact(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	one, err := h.People.PutContact(r.Context(), c.Owner(), r.PathValue("username"))
	if err != nil {
		return err
	}
	wire.WriteJSON(w, http.StatusOK, contact(one))
	return nil
}

func (h *handler) deleteContact(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	return done(w, h.People.DeleteContact(r.Context(), c.Owner(), r.PathValue("username")))
}

func (h *handler) blocks(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	blocks, err := h.People.BlocksOf(r.Context(), c.User)
	if err != nil {
		return err
	}
	out := wire.Blocks{Blocks: []wire.Block{}}
	for _, b := range blocks.List() {
		out.Blocks = append(out.Blocks, wire.Block{User: wire.UserOf(b.User), Since: wire.Time(b.Since)})
	}
	wire.WriteJSON(w, http.StatusOK, out)
	return nil
}

func (h *handler) putBlock(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	return done(w, h.People.PutBlock(r.Context(), c.Owner(), r.PathValue("username")))
}

func (h *handler) deleteBlock(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	return done(w, h.People.DeleteBlock(r.Context(), c.Owner(), r.PathValue("username")))
}

func (h *handler) conversations(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	before, n, err := page(r)
	if err != nil {
		return err
	}
	list, next, err := h.People.Conversations(r.Context(), c.User, before, n)
	if err != nil {
		return err
	}
	out := wire.Conversations{Conversations: []wire.Conversation{}, Next: wire.IDOrNone(next)}
	for i := range list {
		out.Conversations = append(out.Conversations, conversation(&list[i]))
	}
	wire.WriteJSON(w, http.StatusOK, out)
	return nil
}

func conversation(v *people.Conversation) wire.Conversation {
	one := wire.Conversation{
		ID: v.ID.String(), Kind: "direct", State: string(v.State), Unread: v.Unread,
		Read: wire.IDOrNone(v.Read), UpdatedAt: wire.Time(v.UpdatedAt),
	}
	if v.Group != nil {
		count := v.Group.Members.Count()
		one.Kind, one.Name, one.MemberCount, one.Role = "group", v.Group.Name, &count, wire.RoleOf(v.Role)
	} else {
		peer := wire.UserOf(v.Peer)
		one.Peer, one.PeerRead, one.PeerDelivered = &peer, wire.IDOrNone(v.PeerRead), wire.IDOrNone(v.PeerDelivered)
	}
	if v.Last != nil {
		last := wire.MessageOf(v.Last.MessageRow, v.Last.Viewed, v.Last.Refusals...)
		one.LastMessage = &last
	}
	return one
}

func (h *handler) messages(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	before, n, err := page(r)
	if err != nil {
		return err
	}
	id, err := pathConversation(r)
	if err != nil {
		return err
	}
	list, next, err := h.People.Messages(r.Context(), c.User, id, before, n)
	if err != nil {
		return err
	}
	out := wire.Messages{Messages: []wire.Message{}, Next: wire.IDOrNone(next)}
	for _, row := range list {
		out.Messages = append(out.Messages, wire.MessageOf(row.MessageRow, row.Viewed, row.Refusals...))
	}
	wire.WriteJSON(w, http.StatusOK, out)
	return nil
}
