package shared

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"meridian/chat"
)

// floor is a store that knows one number.
type floor struct{ chat.Store }

func (floor) Identity(context.Context) (chat.Identity, error) {
	return chat.Identity{Incarnation: 1}, nil
}
func (floor) InboxFloor(context.Context) (chat.HLC, error) { return 7, nil }
func (floor) Close() error                                 { return nil }

// Whoever knows the secret and then sends what is no frame, one that is too long or half of one, or asks for what there is
// not, loses at most its own connection.
func TestGarbageFrames(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("the secret of eu-west")
	server, err := Serve(listener, ServerOptions{
		Region: "eu-west", Secret: secret, Codec: noCodec{},
		Node: func(context.Context, chat.NodeID, chat.Incarnation) (chat.Store, error) { return floor{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	random := rand.NewChaCha8([32]byte{1})
	for round := range 100 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := greet(conn, secret, hello{"eu-west", "n1", 0}); err != nil {
			t.Fatal(err)
		}
		junk := make([]byte, 4+7*round)
		_, _ = random.Read(junk)
		switch round % 3 {
		case 0: // a frame of the length that it says, of nothing
			binary.BigEndian.PutUint32(junk, uint32(len(junk)-4))
		case 1: // longer than allowed, or half there
			binary.BigEndian.PutUint32(junk, uint32(maxFrameBytes+1-round%2*len(junk)))
		}
		_, _ = conn.Write(junk)
		_ = conn.(*net.TCPConn).CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(2 * deadAfter))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatalf("round %d: the connection did not end", round)
			}
		}
		_ = conn.Close()
	}
	c, err := Open(context.Background(), ClientOptions{
		Network: "tcp", Address: listener.Addr().String(), Region: "eu-west", Node: "n1", Secret: secret, Codec: noCodec{},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for of := range 256 { // calls that there are not, and those that lack their arguments
		if name := call(of); name == callReserve || name == callInsertKey || name > callActivities {
			if _, err := c.ask(context.Background(), "test", &request{Call: name}); chat.CodeOf(err) != chat.CodeInvalid {
				t.Fatalf("call %d: error %v", of, err)
			}
		}
	}
	if n, err := c.InboxFloor(context.Background()); err != nil || n != 7 {
		t.Fatalf("floor %d, error %v", n, err)
	}
}
