package meridian

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"strings"
)

// NewClientID makes the idempotency key of a send: a random UUID (version 4).
func NewClientID() string {
	var u [16]byte
	_, _ = io.ReadFull(rand.Reader, u[:]) // crypto/rand does not fail
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return formatUUID(u)
}

// DirectConversation gives the id of the conversation between two users, by their ids: the UUIDv5 of both, sorted and joined
// by ":", under the nil UUID. Both sides compute the same, so either may start it.
func DirectConversation(a, b string) string {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if b < a {
		a, b = b, a
	}
	sum := sha1.Sum(append(make([]byte, 16), a+":"+b...))
	var u [16]byte
	copy(u[:], sum[:])
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return formatUUID(u)
}

// CompareMessageIDs orders messages as people see them: by the 60-bit time in the id, then by the last eight bytes as signed
// bytes. It gives -1, 0 or 1. What is no UUID comes first, in the order of the text.
func CompareMessageIDs(a, b string) int {
	x, okA := messageOrder(a)
	y, okB := messageOrder(b)
	switch {
	case okA && okB:
		return bytes.Compare(x[:], y[:])
	case okA:
		return 1
	case okB:
		return -1
	}
	return strings.Compare(a, b)
}

// messageOrder gives bytes that sort as the ids do: time from its high bits down, then each low byte with its sign turned.
func messageOrder(id string) (order [16]byte, ok bool) {
	u, ok := parseUUID(id)
	if !ok {
		return order, false
	}
	copy(order[0:2], u[6:8])
	order[0] &= 0x0f
	copy(order[2:4], u[4:6])
	copy(order[4:8], u[0:4])
	for i := 8; i < 16; i++ {
		order[i] = u[i] ^ 0x80
	}
	return order, true
}

func parseUUID(s string) (u [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	_, err := hex.Decode(u[:], []byte(strings.ReplaceAll(s, "-", "")))
	return u, err == nil
}

func formatUUID(u [16]byte) string {
	s := hex.EncodeToString(u[:])
	return s[0:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
