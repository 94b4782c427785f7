package auth

import (
	"context"
	"fmt"
	"net/netip"
	"unicode/utf8"

	"github.com/google/uuid"

	"meridian/chat"
)

// SignUpRequest is what a new person says, and from where.
type SignUpRequest struct {
	Username, Password string
	DisplayName        string    // "": the username
	Zone               chat.Zone // "": by the country rule
	Device             string
	Addr               netip.Addr
}

// LoggedIn is a person with a session.
type LoggedIn struct {
	Account      chat.Account
	Session      chat.SessionID
	Token        string
	RefreshToken string
	Expires      chat.HLC // of Token
}

// SignUp makes an account in a zone that this region serves. It returns when the account is durable here and a majority of
// regions has the username as confirmed. Errors: CodeInvalid and CodeInvalidUTF8 naming the field, CodeZoneNotAllowed,
// CodeWrongRegion with endpoints, CodeRateLimited, CodeBusy, CodeUsernameTaken, CodeNoMajority, and those of the submit;
// after CodeUnknownOutcome the name may be taken by this sign-up: log in, or try again a day later.
func (s *Service) SignUp(ctx context.Context, r SignUpRequest) (LoggedIn, error) {
	account, device, err := s.newAccount(&r)
	if err != nil {
		return LoggedIn{}, err
	}
	if err := s.serves(account.Zone); err != nil {
		return LoggedIn{}, err
	}
	if err := s.allow(ctx, r.Addr); err != nil {
		return LoggedIn{}, err
	}
	normalised := Normalise(account.Username)
	// A name that is taken for good needs neither a password hash nor the other regions.
	name := s.directory.entry(normalised, account.ID, account.Zone, chat.UUID(uuid.New()))
	if known, found, err := s.opt.Store.Claim(ctx, name.Key); err != nil {
		return LoggedIn{}, err
	} else if found && !known.Pending {
		return LoggedIn{}, &chat.Error{Code: chat.CodeUsernameTaken, Op: "auth.Service.SignUp", Message: "username is taken"}
	}
	if account.PasswordHash, err = s.hash(ctx, r.Password); err != nil {
		return LoggedIn{}, err
	}
	if account, err = s.take(ctx, name, account); err != nil {
		return LoggedIn{}, err
	}
	return s.open(ctx, account, device)
}

// take makes name the account's: held by a majority of regions, then the account durable, then the name confirmed. Once the
// name is held the rest goes on when ctx ends: until it is known what came of it, the name stays held.
func (s *Service) take(ctx context.Context, name chat.Claim, account chat.Account) (chat.Account, error) {
	token, err := s.directory.hold(ctx, name)
	if err != nil {
		return account, err
	}
	type outcome struct {
		account chat.Account
		err     error
	}
	made := make(chan outcome, 1)
	go func() {
		account, err := s.own(context.WithoutCancel(ctx), token, name, account)
		made <- outcome{account, err}
	}()
	select {
	case o := <-made:
		return o.account, o.err
	case <-ctx.Done():
		return account, &chat.Error{Code: chat.CodeUnknownOutcome, Op: "auth.Service.SignUp", Message: "not made in time", Cause: ctx.Err()}
	}
}

// own makes the account of a held name durable, and the name its own.
func (s *Service) own(ctx context.Context, token uint64, name chat.Claim, account chat.Account) (chat.Account, error) {
	var err error
	if account.CreatedAt, err = s.submitAccount(ctx, account); err != nil {
		// Whatever became of the account, without a claim nobody can find it: the name is free again.
		return account, s.directory.settle(token, name, err)
	}
	if name, err = s.confirm(ctx, name); chat.CodeOf(err) == chat.CodeUnknownOutcome {
		return account, err // the node stops: nobody here will ever know
	}
	return account, s.directory.settle(token, name, err)
}

// newAccount checks what was asked and gives the account, without its password hash, and the device's name.
func (s *Service) newAccount(r *SignUpRequest) (chat.Account, string, error) {
	limits := s.opt.Config.Limits
	if err := ValidUsername(r.Username, limits.UsernameMaxChars); err != nil {
		return chat.Account{}, "", err
	}
	if err := ValidPassword("password", r.Password, limits); err != nil {
		return chat.Account{}, "", err
	}
	account := chat.Account{ID: chat.UserID(uuid.New()), Username: Canonical(r.Username)}
	var err error
	if account.DisplayName, err = cleanLabel("display_name", r.DisplayName); err != nil {
		return account, "", err
	}
	if n := utf8.RuneCountInString(account.DisplayName); n > limits.DisplayNameMaxChars {
		return account, "", &chat.Error{
			Code: chat.CodeInvalid, Op: "auth.Service.SignUp",
			Message: fmt.Sprintf("display_name must have at most %d characters, not %d", limits.DisplayNameMaxChars, n),
		}
	}
	if account.DisplayName == "" {
		account.DisplayName = account.Username
	}
	if account.Zone, account.Pinned, err = s.HomeZone(r.Zone, r.Addr); err != nil {
		return account, "", err
	}
	device, err := cleanDevice(r.Device)
	return account, device, err
}

// submitAccount makes account durable and gives the time from which it holds.
func (s *Service) submitAccount(ctx context.Context, account chat.Account) (chat.HLC, error) {
	author := chat.Owner{ID: account.ID, Zone: account.Zone, Name: account.Username}
	op, err := s.opt.Submitter.Submit(ctx, chat.Op{
		Kind: chat.OpAccount, Author: author, Owners: []chat.Owner{author}, Client: chat.ClientID(uuid.New()), Account: &account,
	})
	return op.Time, err
}

// confirm gives the claim to every region for good, and as every region keeps it. The op names no user, only the zone that
// speaks for it.
func (s *Service) confirm(ctx context.Context, name chat.Claim) (chat.Claim, error) {
	name.Pending = false
	op, err := s.opt.Submitter.Submit(ctx, chat.Op{
		Kind: chat.OpClaim, Author: chat.Owner{Zone: name.Zone}, Client: chat.ClientID(uuid.New()), Claim: &name,
	})
	name.Version = op.Time
	return name, err
}
