// Package seal keeps the texts of messages unreadable at rest. Each pair of author and zone has a data key; the data key
// lies in the store, wrapped under the zone's master key, which comes from a file. Destroying a data key destroys every
// text that it sealed, in mailboxes, op logs, backups and write-ahead logs alike.
package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"sync"

	"meridian/chat"
)

// KeyBytes is the size of master and data keys: AES-256.
const KeyBytes = 32

// maxCachedKeys bounds the data keys that a Sealer remembers; each takes about 1 KiB.
const maxCachedKeys = 8192

// format is the first byte of what is sealed or wrapped.
const format = 1

const nonceBytes = 12

// ErrKeyGone is the cause of the error for a text whose data key is not in the store: it was destroyed.
var ErrKeyGone = errors.New("the data key is destroyed")

// Sealer seals and opens texts. It is safe for concurrent use.
type Sealer struct {
	keys    chat.Keys
	masters map[chat.Zone]cipher.AEAD
	random  io.Reader

	mu sync.Mutex
	// Two generations: when recent is full it becomes old, and the old one is forgotten.
	recent, old map[keyName]cipher.AEAD
}

type keyName struct {
	author chat.UserID
	zone   chat.Zone
}

// New makes a Sealer that keeps wrapped data keys in keys. masters has the master key of each zone whose data this region
// may hold; random gives nonces and data keys (crypto/rand.Reader) and must be safe for concurrent use.
func New(keys chat.Keys, masters map[chat.Zone][KeyBytes]byte, random io.Reader) (*Sealer, error) {
	s := &Sealer{keys: keys, random: random, masters: make(map[chat.Zone]cipher.AEAD, len(masters)), recent: make(map[keyName]cipher.AEAD)}
	for zone, key := range masters {
		aead, err := newAEAD(key[:])
		if err != nil {
			return nil, err
		}
		s.masters[zone] = aead
	}
	return s, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInternal, Op: "seal.newAEAD", Message: "a key has the wrong size", Cause: err}
	}
	return cipher.NewGCM(block)
}

// Seal gives plain sealed for the copy of message id that author wrote and zone keeps; plain is not changed. An empty text
// stays empty. A pair of author and zone that has no data key gets one, which waits for the store. The error has CodeDenied
// when this region has no master key of the zone, and the store's codes.
func (s *Sealer) Seal(ctx context.Context, id chat.MessageID, author chat.UserID, zone chat.Zone, plain []byte) ([]byte, error) {
	if len(plain) == 0 {
		return nil, nil
	}
	aead, err := s.dataKey(ctx, author, zone, true)
	if err != nil {
		return nil, err
	}
	return s.encrypt(aead, plain, bodyContext(id, author, zone))
}

// Open undoes Seal for the same id, author and zone. The error has CodeNotFound and the cause ErrKeyGone when the data key
// is destroyed, CodeDenied when this region has no master key of the zone, CodeRegionDegraded when sealed is damaged or
// belongs to another message, author or zone.
func (s *Sealer) Open(ctx context.Context, id chat.MessageID, author chat.UserID, zone chat.Zone, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	aead, err := s.dataKey(ctx, author, zone, false)
	if err != nil {
		return nil, err
	}
	return decrypt(aead, sealed, bodyContext(id, author, zone), "a message")
}

// Forget drops a data key from memory; the caller has destroyed it in the store.
func (s *Sealer) Forget(author chat.UserID, zone chat.Zone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.recent, keyName{author, zone})
	delete(s.old, keyName{author, zone})
}

// bodyContext binds a sealed text to its row: it opens nowhere else.
func bodyContext(id chat.MessageID, author chat.UserID, zone chat.Zone) []byte {
	b := append([]byte("meridian.body.1"), id[:]...)
	return append(append(b, author[:]...), zone...)
}

func keyContext(author chat.UserID, zone chat.Zone) []byte {
	return append(append([]byte("meridian.key.1"), author[:]...), zone...)
}

// dataKey gives the cipher of a pair, and makes its key if there is none and create says so.
func (s *Sealer) dataKey(ctx context.Context, author chat.UserID, zone chat.Zone, create bool) (cipher.AEAD, error) {
	name := keyName{author, zone}
	if aead := s.cached(name); aead != nil {
		return aead, nil
	}
	master := s.masters[zone]
	if master == nil {
		return nil, &chat.Error{Code: chat.CodeDenied, Op: "seal.dataKey", Message: fmt.Sprintf("this region has no key of zone %q", zone)}
	}
	row, ok, err := s.keys.Key(ctx, author, zone)
	if err != nil {
		return nil, err
	}
	if !ok && !create {
		return nil, &chat.Error{Code: chat.CodeNotFound, Op: "seal.dataKey", Message: "the text is erased", Cause: ErrKeyGone}
	}
	if !ok {
		if row, err = s.makeKey(ctx, master, author, zone); err != nil {
			return nil, err
		}
	}
	key, err := decrypt(master, row.Wrapped, keyContext(author, zone), "a data key")
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	s.remember(name, aead)
	return aead, nil
}

// makeKey stores a new data key; of several that are made at once the store keeps one, and all get that.
func (s *Sealer) makeKey(ctx context.Context, master cipher.AEAD, author chat.UserID, zone chat.Zone) (chat.KeyRow, error) {
	key := make([]byte, KeyBytes)
	if err := s.fill(key); err != nil {
		return chat.KeyRow{}, err
	}
	wrapped, err := s.encrypt(master, key, keyContext(author, zone))
	if err != nil {
		return chat.KeyRow{}, err
	}
	return s.keys.InsertKey(ctx, chat.KeyRow{Author: author, Zone: zone, Wrapped: wrapped})
}

func (s *Sealer) cached(name keyName) cipher.AEAD {
	s.mu.Lock()
	defer s.mu.Unlock()
	if aead := s.recent[name]; aead != nil {
		return aead
	}
	aead := s.old[name]
	if aead != nil {
		s.put(name, aead)
	}
	return aead
}

func (s *Sealer) remember(name keyName, aead cipher.AEAD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(name, aead)
}

func (s *Sealer) put(name keyName, aead cipher.AEAD) {
	if len(s.recent) >= maxCachedKeys/2 {
		s.old, s.recent = s.recent, make(map[keyName]cipher.AEAD)
	}
	s.recent[name] = aead
}

func (s *Sealer) fill(b []byte) error {
	if _, err := io.ReadFull(s.random, b); err != nil {
		return &chat.Error{Code: chat.CodeInternal, Op: "seal.fill", Message: "no random numbers", Cause: err}
	}
	return nil
}

// encrypt gives format, nonce, ciphertext and tag.
func (s *Sealer) encrypt(aead cipher.AEAD, plain, about []byte) ([]byte, error) {
	out := make([]byte, 1+nonceBytes, 1+nonceBytes+len(plain)+aead.Overhead())
	out[0] = format
	if err := s.fill(out[1:]); err != nil {
		return nil, err
	}
	return aead.Seal(out, out[1:], plain, about), nil
}

func decrypt(aead cipher.AEAD, sealed, about []byte, what string) ([]byte, error) {
	if len(sealed) < 1+nonceBytes || sealed[0] != format {
		return nil, &chat.Error{Code: chat.CodeRegionDegraded, Op: "seal.decrypt", Message: what + " is not sealed as this version knows it"}
	}
	plain, err := aead.Open(nil, sealed[1:1+nonceBytes], sealed[1+nonceBytes:], about)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeRegionDegraded, Op: "seal.decrypt", Message: what + " does not open: damaged, or under another key", Cause: err}
	}
	return plain, nil
}
