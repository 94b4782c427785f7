package rest

import (
	"net/http"

	"meridian/chat"
	"meridian/region-node/auth"
	"meridian/region-node/wire"
)

// logged counts an attempt to get tokens, and answers the good ones.
func (h *handler) logged(w http.ResponseWriter, status int, metric string, in auth.LoggedIn, err error) error {
	switch code := chat.CodeOf(err); code {
	case "":
		if metric != "" {
			h.Metrics.Count(metric)
		}
	case chat.CodeBusy:
		h.Metrics.Count("shed_total", "auth")
	case chat.CodeBadCredentials, chat.CodeUnauthorized:
		h.Metrics.Count("auth_failures_total", string(code))
	}
	if err != nil {
		return err
	}
	wire.WriteJSON(w, status, wire.Login{
		UserID: in.Account.ID.String(), Username: in.Account.Username, DisplayName: in.Account.DisplayName,
		HomeZone: in.Account.Zone, Token: in.Token, RefreshToken: in.RefreshToken, ExpiresAt: wire.Time(in.Expires),
	})
	return nil
}

func (h *handler) signUp(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Username    string    `json:"username"`
		Password    string    `json:"password"`
		DisplayName string    `json:"display_name"`
		Zone        chat.Zone `json:"zone"`
		Device      string    `json:"device"`
	}
	if err := h.decode(w, r, &in); err != nil {
		return err
	}
	if err := required("username", in.Username, "password", in.Password); err != nil {
		return err
	}
	out, err := h.Auth.SignUp(r.Context(), auth.SignUpRequest{
		Username: in.Username, Password: in.Password, DisplayName: in.DisplayName, Zone: in.Zone, Device: in.Device, Addr: h.Address(r),
	})
	switch chat.CodeOf(err) {
	case "":
		h.Metrics.Count("claims_total", "confirmed")
	case chat.CodeUsernameTaken:
		h.Metrics.Count("claims_total", "taken")
	case chat.CodeNoMajority:
		h.Metrics.Count("claims_total", "no_majority")
	}
	return h.logged(w, http.StatusCreated, "sign_ups_total", out, err)
}

func (h *handler) logIn(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Device   string `json:"device"`
	}
	if err := h.decode(w, r, &in); err != nil {
		return err
	}
	if err := required("username", in.Username, "password", in.Password); err != nil {
		return err
	}
	out, err := h.Auth.LogIn(r.Context(), auth.LogInRequest{
		Username: in.Username, Password: in.Password, Device: in.Device, Addr: h.Address(r),
	})
	return h.logged(w, http.StatusOK, "logins_total", out, err)
}

func (h *handler) refresh(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := h.decode(w, r, &in); err != nil {
		return err
	}
	if err := required("refresh_token", in.RefreshToken); err != nil {
		return err
	}
	out, err := h.Auth.Refresh(r.Context(), in.RefreshToken)
	return h.logged(w, http.StatusOK, "", out, err)
}

// done answers 204, unless err.
func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (h *handler) logOut(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	return done(w, h.Auth.LogOut(r.Context(), c))
}

func (h *handler) me(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	account, err := h.Auth.Account(r.Context(), c)
	if err != nil {
		return err
	}
	wire.WriteJSON(w, http.StatusOK, wire.Me{
		UserID: account.ID.String(), Username: account.Username, DisplayName: account.DisplayName,
		HomeZone: account.Zone, Pinned: account.Pinned,
	})
	return nil
}

func (h *handler) changePassword(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	var in struct {
		Old string `json:"old_password"`
		New string `json:"new_password"`
	}
	if err := h.decode(w, r, &in); err != nil {
		return err
	}
	if err := required("old_password", in.Old, "new_password", in.New); err != nil {
		return err
	}
	err := h.Auth.ChangePassword(r.Context(), c, in.Old, in.New, h.Address(r))
	if code := chat.CodeOf(err); code == chat.CodeBadCredentials {
		h.Metrics.Count("auth_failures_total", string(code))
	}
	return done(w, err)
}

func (h *handler) sessions(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	sessions, err := h.Auth.Sessions(r.Context(), c)
	if err != nil {
		return err
	}
	out := wire.Sessions{Sessions: []wire.Session{}}
	for _, s := range sessions {
		out.Sessions = append(out.Sessions, wire.Session{
			ID: s.ID.String(), Device: s.Device, CreatedAt: wire.Time(s.CreatedAt), Region: s.Region, Current: s.ID == c.Session,
		})
	}
	wire.WriteJSON(w, http.StatusOK, out)
	return nil
}

func (h *handler) revokeOthers(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	return done(w, h.Auth.RevokeOthers(r.Context(), c))
}

func (h *handler) revokeSession(w http.ResponseWriter, r *http.Request, c auth.Claims) error {
	id, err := chat.ParseUUID(r.PathValue("id"))
	if err != nil {
		return invalid("id is not a session id")
	}
	return done(w, h.Auth.RevokeSession(r.Context(), c, chat.SessionID(id)))
}
