package rest

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"meridian/chat"
	"meridian/region-node/auth"
	"meridian/region-node/wire"
	"meridian/replication"
)

// pathConversation gives the conversation that a path names.
func pathConversation(r *http.Request) (chat.ConversationID, error) {
	id, err := chat.ParseUUID(r.PathValue("id"))
	if err != nil {
		return chat.NoConversation, invalid("id is not a conversation id")
	}
	return chat.ConversationID(id), nil
}

func clientID(text string) (chat.ClientID, error) {
	if err := required("client_id", text); err != nil {
		return chat.NoClient, err
	}
	id, err := chat.ParseUUID(text)
	if err != nil || chat.ClientID(id) == chat.NoClient {
		return chat.NoClient, invalid("client_id must be a UUID")
	}
	return chat.ClientID(id), nil
}

func (h *handler) makeGroup(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	var in struct {
		ClientID string   `json:"client_id"`
		Name     string   `json:"name"`
		Members  []string `json:"members"`
	}
	if err := h.decode(w, r, &in); err != nil {
		return err
	}
	client, err := clientID(in.ClientID)
	if err != nil {
		return err
	}
	for range min(len(in.Members), chat.MaxInvited) {
		if err := h.lookup(r.Context(), c); err != nil {
			return err
		}
	}
	g, err := h.Groups.Make(r.Context(), c.Owner(), client, in.Name, in.Members)
	if err != nil {
		return err
	}
	return h.showGroup(w, r, c, g.ID, http.StatusCreated)
}

// showGroup answers with a group as one of the user's conversations.
func (h *handler) showGroup(w http.ResponseWriter, r *http.Request, c auth.Claims, id chat.ConversationID, status int) error {
	v, err := h.People.Conversation(r.Context(), c.User, id)
	if err != nil {
		return err
	}
	wire.WriteJSON(w, status, conversation(&v))
	return nil
}

func member(m replication.Member) wire.Member {
	return wire.Member{User: wire.UserOf(m.User), Role: wire.RoleOf(m.Role), Since: wire.Time(m.Since)}
}

func (h *handler) group(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	id, err := pathConversation(r)
	if err != nil {
		return err
	}
	n, err := limit(r)
	if err != nil {
		return err
	}
	after, err := memberAfter(r.URL.Query().Get("after"))
	if err != nil {
		return err
	}
	g, role, err := h.Groups.Mine(r.Context(), "rest.group", c.User, id)
	if err != nil {
		return err
	}
	out := wire.Group{ID: id.String(), Name: g.Name, Role: wire.RoleOf(role), MemberCount: g.Members.Count(), Members: []wire.Member{}}
	list := g.Members.List()
	at, _ := slices.BinarySearchFunc(list, after, func(m, after replication.Member) int {
		return cmp.Or(cmp.Compare(after.Role, m.Role), cmp.Compare(m.User.Name, after.User.Name), slices.Compare(m.User.ID[:], after.User.ID[:]), -1)
	})
	list = list[at:]
	for _, m := range list[:min(n, len(list))] {
		out.Members = append(out.Members, member(m))
	}
	if len(list) > n {
		out.Next = memberToken(list[n-1])
	}
	wire.WriteJSON(w, http.StatusOK, out)
	return nil
}

// memberToken says where a list of members goes on: after m, also when m has left.
func memberToken(m replication.Member) string {
	b := append([]byte{byte(m.Role)}, m.User.ID[:]...)
	return base64.RawURLEncoding.EncodeToString(append(b, m.User.Name...))
}

// memberAfter undoes memberToken; without a token it gives what comes before all.
func memberAfter(token string) (m replication.Member, err error) {
	if token == "" {
		m.Role = chat.RoleOwner + 1
		return m, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 1+len(m.User.ID) {
		return m, invalid("after is not a place in a list of members")
	}
	m.Role = chat.Role(b[0])
	b = b[1+copy(m.User.ID[:], b[1:]):]
	m.User.Name = strings.ToValidUTF8(string(b), "")
	return m, nil
}

// groupChange is what changes a group asks for.
type groupChange struct {
	ClientID string `json:"client_id"`
	Name     string `json:"name"`
	Role     string `json:"role"`
}

// groupChange reads a change of the group that the path names.
func (h *handler) groupChange(w http.ResponseWriter, r *http.Request) (in groupChange, id chat.ConversationID, client chat.ClientID, err error) {
	if id, err = pathConversation(r); err != nil {
		return in, id, client, err
	}
	if err = h.decode(w, r, &in); err != nil {
		return in, id, client, err
	}
	client, err = clientID(in.ClientID)
	return in, id, client, err
}

func (h *handler) renameGroup(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	in, id, client, err := h.groupChange(w, r)
	if err != nil {
		return err
	}
	if err := h.Groups.Rename(r.Context(), c.Owner(), id, client, in.Name); err != nil {
		return err
	}
	return h.showGroup(w, r, c, id, http.StatusOK)
}

func (h *handler) putMember(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	in, id, client, err := h.groupChange(w, r)
	if err != nil {
		return err
	}
	role := chat.RoleMember
	switch in.Role {
	case "member", "":
	case "admin":
		role = chat.RoleAdmin
	default:
		return invalid(`role must be "member" or "admin"`)
	}
	m, err := h.Groups.SetRole(r.Context(), c.Owner(), id, client, r.PathValue("username"), role)
	if err != nil {
		return err
	}
	wire.WriteJSON(w, http.StatusOK, member(m))
	return nil
}

func (h *handler) deleteMember(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	id, err := pathConversation(r)
	if err != nil {
		return err
	}
	return done(w, h.Groups.Remove(r.Context(), c.Owner(), id, chat.ClientID(uuid.New()), r.PathValue("username")))
}
