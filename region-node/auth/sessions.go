package auth

import (
	"context"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"meridian/chat"
)

// deviceMaxChars bounds a device's name; a longer one is cut, for it is the device that makes it up.
const deviceMaxChars = 64

func cleanDevice(device string) (string, error) {
	device, err := cleanLabel("device", device)
	if utf8.RuneCountInString(device) > deviceMaxChars {
		device = string([]rune(device)[:deviceMaxChars])
	}
	return device, err
}

// LogInRequest is what a person says to log in, and from where.
type LogInRequest struct {
	Username, Password string
	Device             string
	Addr               netip.Addr
}

// LogIn opens a session. Unknown user and wrong password answer alike, in the same time. Errors: CodeBadCredentials,
// CodeWrongRegion with endpoints (the person's home is elsewhere), CodeRateLimited, CodeBusy (also where the account has not
// arrived in this region yet), CodeInvalid, and those of the submit.
func (s *Service) LogIn(ctx context.Context, r LogInRequest) (LoggedIn, error) {
	const op = "auth.Service.LogIn"
	device, err := cleanDevice(r.Device)
	if err != nil {
		return LoggedIn{}, err
	}
	if len(r.Password) > s.opt.Config.Limits.PasswordMaxBytes {
		return LoggedIn{}, &chat.Error{Code: chat.CodeBadCredentials, Op: op, Message: "unknown user or wrong password"}
	}
	if err := s.allow(ctx, r.Addr); err != nil {
		return LoggedIn{}, err
	}
	var account chat.Account
	owner, err := s.Resolve(ctx, r.Username)
	switch {
	case chat.CodeOf(err) == chat.CodeUnknownUser: // hashed against nothing below
	case err != nil:
		return LoggedIn{}, err
	default:
		if err := s.serves(owner.Zone); err != nil {
			return LoggedIn{}, err
		}
		if account, err = s.account(ctx, owner.ID); err != nil {
			return LoggedIn{}, err
		}
	}
	ok, err := s.verify(ctx, account.PasswordHash, r.Password)
	if err != nil {
		return LoggedIn{}, err
	}
	if !ok {
		return LoggedIn{}, &chat.Error{Code: chat.CodeBadCredentials, Op: op, Message: "unknown user or wrong password"}
	}
	if err := s.makeRoom(ctx, account); err != nil {
		return LoggedIn{}, err
	}
	return s.open(ctx, account, device)
}

// The wait for an account that was made in another region a moment ago.
const arrivalWait, arrivalPoll = time.Second, 25 * time.Millisecond

// arrived reads an account that exists, and waits a little for one that is on its way here.
func (s *Service) arrived(ctx context.Context, user chat.UserID) (chat.Account, bool, error) {
	account, ok, err := s.opt.Store.Account(ctx, user)
	if ok || err != nil {
		return account, ok, err
	}
	end := time.NewTimer(arrivalWait)
	defer end.Stop()
	poll := time.NewTicker(arrivalPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return account, false, nil
		case <-end.C:
			return account, false, nil
		case <-poll.C:
			if account, ok, err = s.opt.Store.Account(ctx, user); ok || err != nil {
				return account, ok, err
			}
		}
	}
}

// account reads an account that exists. One that is not here is on its way: CodeBusy.
func (s *Service) account(ctx context.Context, user chat.UserID) (chat.Account, error) {
	account, ok, err := s.arrived(ctx, user)
	if err == nil && !ok {
		err = &chat.Error{
			Code: chat.CodeBusy, Op: "auth.Service.account", Message: "the account has not arrived in this region yet", RetryAfter: arrivalWait,
		}
	}
	return account, err
}

// open makes a session durable and its tokens.
func (s *Service) open(ctx context.Context, account chat.Account, device string) (LoggedIn, error) {
	session := chat.Session{ID: chat.SessionID(uuid.New()), User: account.ID, Zone: account.Zone, Device: device, Region: s.opt.Self}
	op, err := s.submitSession(ctx, account.Username, session)
	if err != nil {
		return LoggedIn{}, err
	}
	return s.tokens(account, session.ID, op.Time)
}

func (s *Service) submitSession(ctx context.Context, username string, session chat.Session) (chat.Op, error) {
	author := chat.Owner{ID: session.User, Zone: session.Zone, Name: username}
	return s.opt.Submitter.Submit(ctx, chat.Op{
		Kind: chat.OpSession, Author: author, Owners: []chat.Owner{author}, Client: chat.ClientID(uuid.New()), Session: &session,
	})
}

func (s *Service) tokens(account chat.Account, session chat.SessionID, since chat.HLC) (LoggedIn, error) {
	now := s.opt.Now()
	c := Claims{User: account.ID, Name: account.Username, Zone: account.Zone, Session: session, SessionAt: since, IssuedAt: now}
	in := LoggedIn{Account: account, Session: session}
	var err error
	c.Expires = now.Add(s.opt.Config.Security.TokenTTL)
	in.Expires = chat.HLCFromTime(c.Expires.Truncate(time.Second)) // as the token has it
	if in.Token, err = s.opt.Keys.sign(s.opt.Config.Name, Access, c); err != nil {
		return LoggedIn{}, err
	}
	c.Expires = now.Add(s.opt.Config.Security.RefreshTTL)
	in.RefreshToken, err = s.opt.Keys.sign(s.opt.Config.Name, Refresh, c)
	return in, err
}

// makeRoom ends the oldest sessions of a person who has as many as are allowed.
func (s *Service) makeRoom(ctx context.Context, account chat.Account) error {
	sessions, err := s.standing(ctx, account)
	if err != nil {
		return err
	}
	for len(sessions) >= max(s.opt.Config.Limits.SessionsPerUser, 1) {
		oldest := sessions[len(sessions)-1]
		if err := s.revoke(ctx, account.Username, oldest); err != nil {
			return err
		}
		sessions = sessions[:len(sessions)-1]
	}
	return nil
}

// standing gives the account's sessions that no password change has ended, newest first.
func (s *Service) standing(ctx context.Context, account chat.Account) ([]chat.Session, error) {
	sessions, err := s.opt.Store.Sessions(ctx, account.ID)
	return slices.DeleteFunc(sessions, func(x chat.Session) bool { return ended(account, x.ID, x.CreatedAt) }), err
}

// ended says whether a password change ended the session that began at since.
func ended(account chat.Account, session chat.SessionID, since chat.HLC) bool {
	return since < account.SessionsNotBefore && session != account.SessionKept
}

// CheckSession says whether the session that c was issued for still stands, as far as this region of the home zone knows.
// A session that is not known here was opened in another region a moment ago: its token is its proof. Errors:
// CodeUnauthorized, CodeWrongRegion with endpoints, and the store's.
func (s *Service) CheckSession(ctx context.Context, c Claims) error {
	if err := s.serves(c.Zone); err != nil {
		return err
	}
	session, known, err := s.opt.Store.Session(ctx, c.User, c.Session)
	if err != nil {
		return err
	}
	account, found, err := s.opt.Store.Account(ctx, c.User)
	if err != nil {
		return err
	}
	if known && session.Revoked || found && ended(account, c.Session, c.SessionAt) {
		return &chat.Error{Code: chat.CodeUnauthorized, Op: "auth.Service.CheckSession", Message: "the session has ended: log in again"}
	}
	return nil
}

// Refresh gives new tokens for a refresh token whose session stands. Errors: CodeUnauthorized, CodeWrongRegion with
// endpoints, and the store's.
func (s *Service) Refresh(ctx context.Context, refreshToken string) (LoggedIn, error) {
	c, err := s.verifier.Verify(refreshToken, Refresh)
	if err != nil {
		return LoggedIn{}, err
	}
	if err := s.CheckSession(ctx, c); err != nil {
		return LoggedIn{}, err
	}
	account, err := s.Account(ctx, c)
	if err != nil {
		return LoggedIn{}, err
	}
	return s.tokens(account, c.Session, c.SessionAt)
}

// Account gives the bearer's account; one that has not arrived here yet as far as its token tells, without password hash.
func (s *Service) Account(ctx context.Context, c Claims) (chat.Account, error) {
	if err := s.serves(c.Zone); err != nil {
		return chat.Account{}, err
	}
	account, ok, err := s.arrived(ctx, c.User)
	if err == nil && !ok {
		account = chat.Account{ID: c.User, Username: c.Name, DisplayName: c.Name, Zone: c.Zone}
	}
	return account, err
}

// LogOut ends the bearer's session.
func (s *Service) LogOut(ctx context.Context, c Claims) error {
	if err := s.serves(c.Zone); err != nil {
		return err
	}
	session, known, err := s.opt.Store.Session(ctx, c.User, c.Session)
	if err != nil {
		return err
	}
	if !known {
		session = chat.Session{ID: c.Session, User: c.User, Zone: c.Zone, CreatedAt: c.SessionAt}
	}
	return s.revoke(ctx, c.Name, session)
}

func (s *Service) revoke(ctx context.Context, username string, session chat.Session) error {
	if session.Revoked {
		return nil
	}
	session.Revoked = true
	_, err := s.submitSession(ctx, username, session)
	return err
}

// Sessions gives the bearer's sessions that stand, newest first.
func (s *Service) Sessions(ctx context.Context, c Claims) ([]chat.Session, error) {
	account, err := s.Account(ctx, c)
	if err != nil {
		return nil, err
	}
	return s.standing(ctx, account)
}

// RevokeSession ends one of the bearer's sessions. The error has CodeNotFound when there is none of that id that stands.
func (s *Service) RevokeSession(ctx context.Context, c Claims, id chat.SessionID) error {
	sessions, err := s.Sessions(ctx, c)
	if err != nil {
		return err
	}
	for _, session := range sessions {
		if session.ID == id {
			return s.revoke(ctx, c.Name, session)
		}
	}
	return &chat.Error{Code: chat.CodeNotFound, Op: "auth.Service.RevokeSession", Message: "no such session"}
}

// RevokeOthers ends all the bearer's sessions but the one of c.
func (s *Service) RevokeOthers(ctx context.Context, c Claims) error {
	account, err := s.Account(ctx, c)
	if err != nil {
		return err
	}
	sessions, err := s.standing(ctx, account)
	if err != nil {
		return err
	}
	for _, session := range sessions {
		if session.ID == c.Session {
			continue
		}
		if err := s.revoke(ctx, c.Name, session); err != nil {
			return err
		}
	}
	return nil
}

// ChangePassword changes the bearer's password and ends all sessions but the one of c, also those that this region does not
// know yet. Errors: CodeBadCredentials when oldPassword is wrong, CodeInvalid for newPassword, CodeRateLimited, CodeBusy,
// CodeWrongRegion with endpoints, and those of the submit.
func (s *Service) ChangePassword(ctx context.Context, c Claims, oldPassword, newPassword string, addr netip.Addr) error {
	if err := s.serves(c.Zone); err != nil {
		return err
	}
	if err := ValidPassword("new_password", newPassword, s.opt.Config.Limits); err != nil {
		return err
	}
	if err := s.allow(ctx, addr); err != nil {
		return err
	}
	account, err := s.account(ctx, c.User)
	if err != nil {
		return err
	}
	wrong := &chat.Error{Code: chat.CodeBadCredentials, Op: "auth.Service.ChangePassword", Message: "old_password is wrong"}
	if len(oldPassword) > s.opt.Config.Limits.PasswordMaxBytes {
		return wrong
	}
	if ok, err := s.verify(ctx, account.PasswordHash, oldPassword); err != nil {
		return err
	} else if !ok {
		return wrong
	}
	if account.PasswordHash, err = s.hash(ctx, newPassword); err != nil {
		return err
	}
	account.SessionsNotBefore = ^chat.HLC(0) // the op's time, which the core puts in
	account.SessionKept = c.Session
	_, err = s.submitAccount(ctx, account)
	return err
}
