package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"meridian/chat"
	"meridian/replication/claim"
)

// storeTimeout bounds one read or write of the directory.
const storeTimeout = 5 * time.Second

// Remote asks another region. The link proves to the far side which region asks. Errors are of type *chat.Error.
type Remote interface {
	Call(ctx context.Context, region chat.Region, method string, payload []byte) ([]byte, error)
}

// DirectoryStore is where a region keeps its part of the directory.
type DirectoryStore interface {
	chat.Directory
	Commit(b *chat.Batch, done func(error))
}

// DirectoryKey is the secret of all regions that hides usernames in the directory.
type DirectoryKey [32]byte

// Directory is this region's part of the world's usernames: the shell of claim.Core, which decides. It does what the core asks
// for, each thing in a goroutine of its own, and brings back what came of it. It is safe for concurrent use.
type Directory struct {
	key    DirectoryKey
	store  DirectoryStore
	remote Remote
	now    func() time.Time

	mu      sync.Mutex
	core    *claim.Core
	token   uint64
	waiting map[uint64]chan claim.Result // by token, or id of a request: both are numbers of one row
	wake    *time.Timer
}

func newDirectory(cfg claim.Config, key DirectoryKey, store DirectoryStore, remote Remote, now func() time.Time) *Directory {
	return &Directory{key: key, store: store, remote: remote, now: now, core: claim.New(cfg), waiting: map[uint64]chan claim.Result{}}
}

// entry gives the claim of a normalised name for a user, as a fresh attempt of a sign-up.
func (d *Directory) entry(normalised string, user chat.UserID, zone chat.Zone, attempt chat.UUID) chat.Claim {
	return chat.Claim{
		Key: d.claimKey(normalised), Blinded: d.blind(normalised, user), Zone: zone, Bucket: Bucket(normalised),
		Attempt: attempt, Pending: true, Version: chat.HLCFromTime(d.now()),
	}
}

func (d *Directory) claimKey(normalised string) chat.ClaimKey {
	return chat.ClaimKey(d.mac("name:" + normalised))
}

// blind hides a user id, or shows it again: it is its own inverse.
func (d *Directory) blind(normalised string, id [16]byte) [16]byte {
	mask := d.mac("id:" + normalised)
	for i := range id {
		id[i] ^= mask[i]
	}
	return id
}

func (d *Directory) mac(text string) [sha256.Size]byte {
	m := hmac.New(sha256.New, d.key[:])
	m.Write([]byte(text))
	return [sha256.Size]byte(m.Sum(nil))
}

// Bucket gives the first 16 bits of SHA-256 of a normalised name: what may be asked about it without saying which it is.
func Bucket(normalised string) uint16 {
	sum := sha256.Sum256([]byte(normalised))
	return binary.BigEndian.Uint16(sum[:2])
}

// hold holds c for a sign-up in this region. After nil, settle must follow with the token. Errors, after giving back what was
// reserved: CodeUsernameTaken, CodeNoMajority, and the store's.
func (d *Directory) hold(ctx context.Context, c chat.Claim) (token uint64, err error) {
	token, answer := d.expect()
	d.step(claim.Claim{Token: token, Claim: c})
	select {
	case r := <-answer:
		return token, r.Err
	case <-ctx.Done():
	}
	d.step(claim.Cancel{Token: token})
	r := <-answer // soon: what is held is given back, or was held already
	if r.Err == nil {
		err := &chat.Error{Code: chat.CodeNoMajority, Op: "auth.Directory.hold", Message: "the request ended", Cause: ctx.Err(), RetryAfter: claim.RetryAfter}
		return token, d.settle(token, c, err)
	}
	return token, r.Err
}

// settle says what came of a held claim: c as it was confirmed, or the error because of which it is not and will never be. The
// answer is that error once the claim is given back; else nil when a majority of regions has c as confirmed, and
// CodeUnknownOutcome when too few answer.
func (d *Directory) settle(token uint64, c chat.Claim, err error) error {
	answer := d.await(token)
	d.step(claim.Settle{Token: token, Claim: c, Err: err})
	return (<-answer).Err
}

// find gives the confirmed claim of a normalised name. The error has CodeNoMajority when regions that may know it do not answer.
func (d *Directory) find(ctx context.Context, normalised string) (c chat.Claim, found bool, err error) {
	token, answer := d.expect()
	d.step(claim.Lookup{Token: token, Key: d.claimKey(normalised)})
	r, err := d.result(ctx, token, answer)
	return r.Claim, r.Found, err
}

// mend gives what is confirmed here of a name to the regions that lack it. Found is false when nothing is. Errors: CodeDenied for
// a zone that this region does not serve, CodeVersionConflict when others have it for another sign-up, and of who did not take it.
func (d *Directory) mend(ctx context.Context, key chat.ClaimKey) (claim.Result, error) {
	token, answer := d.expect()
	d.step(claim.Mend{Token: token, Key: key})
	return d.result(ctx, token, answer)
}

// request answers another region.
func (d *Directory) request(ctx context.Context, from chat.Region, a claim.Ask) (claim.Result, error) {
	id, answer := d.expect()
	d.step(claim.Request{ID: id, From: from, Ask: a})
	return d.result(ctx, id, answer)
}

// expect makes a token, and the place where its next answer will lie.
func (d *Directory) expect() (uint64, <-chan claim.Result) {
	d.mu.Lock()
	d.token++
	token := d.token
	d.mu.Unlock()
	return token, d.await(token)
}

func (d *Directory) await(token uint64) <-chan claim.Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	answer := make(chan claim.Result, 1)
	d.waiting[token] = answer
	return answer
}

// result waits for an answer as long as ctx lasts; one that comes later is dropped.
func (d *Directory) result(ctx context.Context, token uint64, answer <-chan claim.Result) (claim.Result, error) {
	select {
	case r := <-answer:
		return r, r.Err
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waiting, token)
	return claim.Result{}, &chat.Error{Code: chat.CodeUnknownOutcome, Op: "auth.Directory", Message: "the request ended", Cause: ctx.Err()}
}

// step gives the core an input and starts what it asks for.
func (d *Directory) step(in claim.Input) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for _, out := range d.core.Step(now, in) {
		switch out := out.(type) {
		case claim.Answer:
			d.deliver(out.Token, out.Result)
		case claim.Reply:
			d.deliver(out.ID, out.Result)
		case claim.Call:
			go d.call(out)
		default:
			go d.work(out)
		}
	}
	at, ok := d.core.Wake()
	switch {
	case !ok && d.wake != nil:
		d.wake.Stop()
	case ok && d.wake == nil:
		d.wake = time.AfterFunc(at.Sub(now), func() { d.step(claim.Tick{}) })
	case ok:
		d.wake.Reset(at.Sub(now))
	}
}

// deliver hands an answer to who waits for it. The mutex is held.
func (d *Directory) deliver(token uint64, r claim.Result) {
	if answer, ok := d.waiting[token]; ok {
		delete(d.waiting, token)
		answer <- r
	}
}

// call asks another region.
func (d *Directory) call(out claim.Call) {
	ctx, cancel := context.WithTimeout(context.Background(), out.Timeout)
	defer cancel()
	method, payload := encodeAsk(out.Ask)
	reply, err := d.remote.Call(ctx, out.Region, method, payload)
	r := claim.Result{Err: err}
	if err == nil && len(reply) > 0 {
		r.Claim, r.Err = decodeClaim(reply)
		r.Found = r.Err == nil
	}
	d.step(claim.Done{ID: out.ID, Result: r})
}

// work reads or writes the store.
func (d *Directory) work(out claim.Output) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	var id uint64
	var r claim.Result
	switch out := out.(type) {
	case claim.StoreReserve:
		id = out.ID
		r.Claim, r.Err = d.store.Reserve(ctx, out.Claim)
		r.Found = r.Err == nil
	case claim.StoreRelease:
		id, r.Err = out.ID, d.store.Release(ctx, out.Key, out.Attempt)
	case claim.StoreClaim:
		id = out.ID
		r.Claim, r.Found, r.Err = d.store.Claim(ctx, out.Key)
	case claim.StoreConfirm:
		id, r.Err = out.ID, d.commit(ctx, &chat.Batch{Claims: []chat.Claim{out.Claim}})
	}
	d.step(claim.Done{ID: id, Result: r})
}

func (d *Directory) commit(ctx context.Context, b *chat.Batch) error {
	done := make(chan error, 1)
	d.store.Commit(b, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return &chat.Error{Code: chat.CodeUnknownOutcome, Op: "auth.Directory", Message: "the store does not answer", Cause: ctx.Err()}
	}
}
