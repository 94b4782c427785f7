package shared

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"meridian/chat"
)

// The handshake, numbers big endian:
//
//	server  magic, version (2 bytes), nonce (32)
//	client  magic, version (2), nonce (32), region and node (each 1 byte length, then its bytes), life (8), proof (32)
//	server  proof (32), or nothing: it closes
//
// A proof is HMAC-SHA-256 under the secret of who proves it and all that was said before it, so that neither side can be
// played back or mirrored. A stranger gets at nothing behind it.

// magic says that this is a store and not something else.
const magic = "MSTORE"

// protocolVersion, one line per step:
//
//	1  calls of calls.go
const protocolVersion = 1

const (
	nonceBytes = 32
	proofBytes = sha256.Size
	maxName    = 255
	// MinSecretBytes is how long a secret must be.
	MinSecretBytes = 16
)

// hello is what a client says of itself. Life is 0 when it does not know one yet.
type hello struct {
	region chat.Region
	node   chat.NodeID
	life   chat.Incarnation
}

var errProof = errors.New("the other side does not know the secret")

func proof(secret []byte, who string, said ...[]byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("meridian.store." + who))
	for _, part := range said {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// opening gives magic, version and a fresh nonce.
func opening() ([]byte, error) {
	b := binary.BigEndian.AppendUint16([]byte(magic), protocolVersion)
	nonce := make([]byte, nonceBytes)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return append(b, nonce...), nil
}

// readOpening reads what opening gave.
func readOpening(r io.Reader) ([]byte, error) {
	b := make([]byte, len(magic)+2+nonceBytes)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if string(b[:len(magic)]) != magic {
		return nil, errors.New("the other side speaks something else")
	}
	if v := binary.BigEndian.Uint16(b[len(magic):]); v != protocolVersion {
		return nil, fmt.Errorf("the other side speaks version %d, this one %d", v, protocolVersion)
	}
	return b, nil
}

func appendHello(b []byte, h hello) []byte {
	for _, name := range []string{string(h.region), string(h.node)} {
		b = append(append(b, byte(len(name))), name...)
	}
	return binary.BigEndian.AppendUint64(b, uint64(h.life))
}

// readHello reads what appendHello wrote and gives it raw too.
func readHello(r io.Reader) (h hello, raw []byte, err error) {
	name := func() string {
		var size [1]byte
		if err == nil {
			_, err = io.ReadFull(r, size[:])
		}
		text := make([]byte, size[0])
		if err == nil {
			_, err = io.ReadFull(r, text)
		}
		raw = append(append(raw, size[0]), text...)
		return string(text)
	}
	h.region, h.node = chat.Region(name()), chat.NodeID(name())
	var life [8]byte
	if err == nil {
		_, err = io.ReadFull(r, life[:])
	}
	h.life = chat.Incarnation(binary.BigEndian.Uint64(life[:]))
	return h, append(raw, life[:]...), err
}

// greet is the client's side. Nothing is sent that helps a server without the secret.
func greet(conn io.ReadWriter, secret []byte, h hello) error {
	theirs, err := readOpening(conn)
	if err != nil {
		return err
	}
	mine, err := opening()
	if err != nil {
		return err
	}
	mine = appendHello(mine, h)
	if _, err := conn.Write(append(mine, proof(secret, "client", theirs, mine)...)); err != nil {
		return err
	}
	answer := make([]byte, proofBytes)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("refused: %w", err)
	}
	if subtle.ConstantTimeCompare(answer, proof(secret, "server", theirs, mine)) != 1 {
		return errProof
	}
	return nil
}

// admit is the server's side.
func admit(conn io.ReadWriter, secret []byte) (hello, error) {
	mine, err := opening()
	if err != nil {
		return hello{}, err
	}
	if _, err := conn.Write(mine); err != nil {
		return hello{}, err
	}
	theirs, err := readOpening(conn)
	if err != nil {
		return hello{}, err
	}
	h, raw, err := readHello(conn)
	if err != nil {
		return hello{}, err
	}
	given := make([]byte, proofBytes)
	if _, err := io.ReadFull(conn, given); err != nil {
		return hello{}, err
	}
	theirs = append(theirs, raw...)
	if subtle.ConstantTimeCompare(given, proof(secret, "client", mine, theirs)) != 1 {
		return hello{}, errProof
	}
	_, err = conn.Write(proof(secret, "server", mine, theirs))
	return h, err
}
