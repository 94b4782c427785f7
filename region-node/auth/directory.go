package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"meridian/chat"
)

// The bounds of directory work.
const (
	// pendingTTL: a reservation that nobody has confirmed for so long is free again, once every region of its zone has said
	// that it knows no confirmed claim of the name either.
	pendingTTL = 24 * time.Hour
	// lookupTimeout bounds finding a name that is not known here; lookupFirst of it are the slot owner's alone.
	lookupTimeout, lookupFirst = time.Second, 600 * time.Millisecond
	// releaseTimeout bounds giving back what a failed sign-up had reserved.
	releaseTimeout = time.Second
)

// Remote asks another region. The link proves to the far side which region asks. Errors are of type *chat.Error.
type Remote interface {
	Call(ctx context.Context, region chat.Region, method string, payload []byte) ([]byte, error)
}

// DirectoryKey is the secret of all regions that hides usernames in the directory.
type DirectoryKey [32]byte

// Directory is this region's part of the world's usernames. It is safe for concurrent use.
type Directory struct {
	self     chat.Region
	topology chat.Topology
	key      DirectoryKey
	store    chat.Directory
	remote   Remote
	now      func() time.Time
	timeout  time.Duration // of a claim
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

// SlotOwner gives the region that decides claims of key: the one whose hash with the key is largest (rendezvous hashing),
// so that a change of the regions moves the slots of the changed region only.
func SlotOwner(t chat.Topology, key chat.ClaimKey) chat.Region {
	var owner chat.Region
	var largest [sha256.Size]byte
	for _, region := range t.Regions {
		score := sha256.Sum256(append(key[:], region...))
		if owner == "" || bytes.Compare(score[:], largest[:]) > 0 {
			owner, largest = region, score
		}
	}
	return owner
}

func (d *Directory) others() []chat.Region {
	return slices.DeleteFunc(slices.Clone(d.topology.Regions), func(r chat.Region) bool { return r == d.self })
}

// claim makes c the world's: the slot owner takes it, then a majority of all regions holds it. Whoever holds another
// attempt's entry does not count; since two majorities share a region, two attempts never both succeed, even where the slot
// owner was lost or changed. Errors, after giving back what was reserved: CodeUsernameTaken, CodeNoMajority.
func (d *Directory) claim(ctx context.Context, c chat.Claim) error {
	const op = "auth.Directory.claim"
	bounded, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	err := d.gather(bounded, c)
	if err != nil {
		cancel() // so that no reservation is sent after its release
		d.release(ctx, c)
		e := *chat.AsError(err)
		e.Op = op
		return &e
	}
	return nil
}

func (d *Directory) gather(ctx context.Context, c chat.Claim) error {
	taken := &chat.Error{Code: chat.CodeUsernameTaken, Message: "username is taken"}
	owner := SlotOwner(d.topology, c.Key)
	stands, err := d.reserveAt(ctx, owner, c)
	if err != nil && owner == d.self {
		return err // the store's
	}
	if err != nil {
		return &chat.Error{
			Code: chat.CodeNoMajority, Message: "region " + string(owner) + ", which decides about this username, cannot be reached",
			Cause: err, RetryAfter: time.Second,
		}
	}
	if stands.Attempt != c.Attempt {
		return taken
	}
	type answer struct {
		stands chat.Claim
		err    error
	}
	answers := make(chan answer, len(d.topology.Regions))
	waiting := 0
	for _, region := range d.topology.Regions {
		if region == owner {
			continue
		}
		waiting++
		go func() {
			stands, err := d.reserveAt(ctx, region, c)
			answers <- answer{stands, err}
		}()
	}
	held := 1
	var last error
	for ; held < d.topology.Majority() && waiting > 0; waiting-- {
		switch a := <-answers; {
		case a.err != nil:
			last = a.err
		case a.stands.Attempt == c.Attempt:
			held++
		case !a.stands.Pending:
			return taken
		}
	}
	if held < d.topology.Majority() {
		return &chat.Error{Code: chat.CodeNoMajority, Message: "a majority of regions cannot be reached", Cause: last, RetryAfter: time.Second}
	}
	return nil
}

// release gives back c's reservation everywhere, as far as regions answer. What stays is free again after pendingTTL.
func (d *Directory) release(ctx context.Context, c chat.Claim) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	payload := encodeClaim(c)
	done := make(chan struct{}, len(d.topology.Regions))
	for _, region := range d.others() {
		go func() {
			_, _ = d.remote.Call(ctx, region, MethodRelease, payload) // best effort
			done <- struct{}{}
		}()
	}
	_ = d.store.Release(ctx, c.Key, c.Attempt) // best effort
	for range d.others() {
		<-done
	}
}

func (d *Directory) reserveAt(ctx context.Context, region chat.Region, c chat.Claim) (chat.Claim, error) {
	if region == d.self {
		return d.reserve(ctx, c)
	}
	reply, err := d.remote.Call(ctx, region, MethodReserve, encodeClaim(c))
	if err != nil {
		return chat.Claim{}, err
	}
	return decodeClaim(reply)
}

// reserve takes c here, unless another attempt's entry stands. An abandoned one makes way.
func (d *Directory) reserve(ctx context.Context, c chat.Claim) (chat.Claim, error) {
	c.Pending, c.Version = true, chat.HLCFromTime(d.now())
	stands, err := d.store.Reserve(ctx, c)
	if err != nil || stands.Attempt == c.Attempt || !d.abandoned(ctx, stands) {
		return stands, err
	}
	if err := d.store.Release(ctx, stands.Key, stands.Attempt); err != nil {
		return chat.Claim{}, err
	}
	return d.store.Reserve(ctx, c)
}

// abandoned says whether the sign-up behind a pending entry has certainly ended without success: it is older than
// pendingTTL, and each region of its zone, one of which would have finished it, answers that it has not.
func (d *Directory) abandoned(ctx context.Context, c chat.Claim) bool {
	if !c.Pending || c.Version.Add(pendingTTL) > chat.HLCFromTime(d.now()) {
		return false
	}
	for _, region := range d.topology.Zones[c.Zone].Regions {
		known, found, err := d.lookupAt(ctx, region, c.Key)
		if err != nil || found && !known.Pending {
			return false
		}
	}
	return true
}

func (d *Directory) lookupAt(ctx context.Context, region chat.Region, key chat.ClaimKey) (c chat.Claim, found bool, err error) {
	if region == d.self {
		return d.store.Claim(ctx, key)
	}
	reply, err := d.remote.Call(ctx, region, MethodLookup, key[:])
	if err != nil || len(reply) == 0 {
		return chat.Claim{}, false, err
	}
	c, err = decodeClaim(reply)
	return c, err == nil, err
}

// find gives the confirmed claim of a normalised name: from here, or where it has not arrived yet from its slot owner, or
// else, when that does not answer or knows it as pending only, from any region.
func (d *Directory) find(ctx context.Context, normalised string) (c chat.Claim, found bool, err error) {
	key := d.claimKey(normalised)
	local, found, err := d.store.Claim(ctx, key)
	if err != nil || found && !local.Pending {
		return local, found, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	askAll := found
	if owner := SlotOwner(d.topology, key); owner != d.self {
		first, cancel := context.WithTimeout(ctx, lookupFirst)
		c, found, err := d.lookupAt(first, owner, key)
		cancel()
		if err == nil && found && !c.Pending {
			return c, true, nil
		}
		askAll = askAll || err != nil || found
	}
	if !askAll {
		return chat.Claim{}, false, nil
	}
	answers := make(chan *chat.Claim, len(d.topology.Regions))
	others := d.others()
	for _, region := range others {
		go func() {
			if c, found, err := d.lookupAt(ctx, region, key); err == nil && found && !c.Pending {
				answers <- &c
				return
			}
			answers <- nil
		}()
	}
	for range others {
		if c := <-answers; c != nil {
			return *c, true, nil
		}
	}
	return chat.Claim{}, false, nil
}
