package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"meridian/chat"
	"meridian/config"
)

const (
	saltBytes = 16
	hashBytes = 32
	// hashQueuePerSlot bounds who waits for a password hash, per hash at work: at some 50 ms each, three seconds' worth.
	hashQueuePerSlot = 64
	// hashRetryAfter is what those are told who found the queue full.
	hashRetryAfter = 2 * time.Second
	// maxStoredMemoryKiB bounds what a stored hash may ask for: 1 GiB.
	maxStoredMemoryKiB = 1 << 20
)

// Hasher hashes passwords with argon2id. At most Argon2Parallel hashes are at work at once, so memory is bounded; those who
// wait are bounded too. It is safe for concurrent use.
type Hasher struct {
	memoryKiB, passes uint32
	threads           uint8
	slots             chan struct{}
	maxWaiting        int64
	waiting           atomic.Int64
	dummy             string
}

// NewHasher makes a Hasher with the costs of s. It hashes once, for the answer to unknown users.
func NewHasher(s config.Security) *Hasher {
	parallel := max(s.Argon2Parallel, 1)
	h := &Hasher{
		memoryKiB: s.Argon2MemoryKiB, passes: s.Argon2Passes, threads: s.Argon2Threads,
		slots: make(chan struct{}, parallel), maxWaiting: int64(parallel * hashQueuePerSlot),
	}
	h.dummy = h.hash("")
	return h
}

// Hash gives password's hash in PHC string format. Errors: CodeBusy with RetryAfter when too many wait, or ctx ends first.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer h.release()
	return h.hash(password), nil
}

// Verify says whether stored is password's hash. With stored "" (no such user) it does the same work and says no. Errors:
// CodeBusy as Hash; CodeInternal for a stored hash that cannot be read.
func (h *Hasher) Verify(ctx context.Context, stored, password string) (bool, error) {
	known := stored != ""
	if !known {
		stored = h.dummy
	}
	p, err := parsePHC(stored)
	if err != nil {
		return false, &chat.Error{Code: chat.CodeInternal, Op: "auth.Hasher.Verify", Message: "internal error", Cause: err}
	}
	if err := h.acquire(ctx); err != nil {
		return false, err
	}
	defer h.release()
	same := subtle.ConstantTimeCompare(p.key(password), p.sum) == 1
	return same && known, nil
}

func (h *Hasher) acquire(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	busy := &chat.Error{Code: chat.CodeBusy, Op: "auth.Hasher", Message: "too many log-ins at once", RetryAfter: hashRetryAfter}
	if h.waiting.Add(1) > h.maxWaiting {
		h.waiting.Add(-1)
		return busy
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		busy.Cause = ctx.Err()
		return busy
	}
}

func (h *Hasher) release() { <-h.slots }

func (h *Hasher) hash(password string) string {
	p := phc{memoryKiB: h.memoryKiB, passes: h.passes, threads: h.threads, salt: make([]byte, saltBytes), sum: make([]byte, hashBytes)}
	rand.Read(p.salt) //nolint:errcheck // it never fails (crypto/rand)
	p.sum = p.key(password)
	return p.String()
}

// phc is a password hash with its costs: https://github.com/P-H-C/phc-string-format.
type phc struct {
	memoryKiB, passes uint32
	threads           uint8
	salt, sum         []byte
}

// key derives the hash of password. Composed and decomposed accents, which keyboards differ in, count as one.
func (p phc) key(password string) []byte {
	return argon2.IDKey([]byte(norm.NFC.String(password)), p.salt, p.passes, p.memoryKiB, p.threads, uint32(len(p.sum)))
}

// String gives "$argon2id$v=19$m=…,t=…,p=…$salt$hash".
func (p phc) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memoryKiB, p.passes, p.threads,
		b64.EncodeToString(p.salt), b64.EncodeToString(p.sum))
}

var errNotPHC = errors.New("not an argon2id hash in PHC format")

func parsePHC(s string) (phc, error) {
	var p phc
	var version int
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return p, errNotPHC
	}
	if n, err := fmt.Sscanf(parts[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version {
		return p, errNotPHC
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memoryKiB, &p.passes, &p.threads); n != 3 || err != nil {
		return p, errNotPHC
	}
	var err error
	if p.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return p, errNotPHC
	}
	if p.sum, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return p, errNotPHC
	}
	if p.memoryKiB > maxStoredMemoryKiB || p.passes == 0 || p.threads == 0 || len(p.sum) < 16 || len(p.sum) > 64 {
		return p, errNotPHC
	}
	return p, nil
}

// ValidPassword says whether password may be chosen. The error has CodeInvalid, or CodeInvalidUTF8, and names field.
func ValidPassword(field, password string, l config.Limits) error {
	const op = "auth.ValidPassword"
	if !utf8.ValidString(password) {
		return &chat.Error{Code: chat.CodeInvalidUTF8, Op: op, Message: field + " is not UTF-8"}
	}
	if utf8.RuneCountInString(password) < l.PasswordMinChars {
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: fmt.Sprintf("%s must have at least %d characters", field, l.PasswordMinChars)}
	}
	if len(password) > l.PasswordMaxBytes {
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: fmt.Sprintf("%s must have at most %d bytes", field, l.PasswordMaxBytes)}
	}
	return nil
}
