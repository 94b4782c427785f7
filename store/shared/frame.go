package shared

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// stream is a connection after the handshake: frames of 4 bytes length, big endian, and so many bytes of gob. Type
// descriptions cross once, with the first value that needs them, so the frames of one direction belong together.
type stream struct {
	in  *bufio.Reader
	out *bufio.Writer

	feed    feed
	decoder *gob.Decoder
	buffer  bytes.Buffer
	encoder *gob.Encoder
}

// newStream makes a stream that reads nothing more once stopping is closed; it may be nil.
func newStream(conn net.Conn, stopping <-chan struct{}) *stream {
	p := patient{conn, stopping}
	s := &stream{in: bufio.NewReaderSize(p, bufferBytes), out: bufio.NewWriterSize(p, bufferBytes)}
	s.decoder = gob.NewDecoder(&s.feed)
	s.encoder = gob.NewEncoder(&s.buffer)
	return s
}

// patient waits at most deadAfter for each piece. It waits for a read in steps: one in which this machine stood still says nothing of the
// other side, and counts as no more than any other.
type patient struct {
	net.Conn
	stopping <-chan struct{}
}

var errStopping = errors.New("the server stops")

func (p patient) Read(b []byte) (n int, err error) {
	for range silentSteps {
		if err := p.SetReadDeadline(time.Now().Add(deadAfter / silentSteps)); err != nil {
			return 0, err
		}
		select {
		case <-p.stopping: // who closes it moves the deadline afterwards
			return 0, errStopping
		default:
		}
		if n, err = p.Conn.Read(b); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	return n, err
}

func (p patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(deadAfter)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

// feed gives the decoder the bytes of one frame.
type feed struct{ bytes.Reader }

// read reads the next frame into v. After an error the stream is of no use.
func (s *stream) read(v any) (err error) {
	var head [4]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrameBytes {
		return fmt.Errorf("a frame of %d bytes; at most %d", size, maxFrameBytes)
	}
	var body bytes.Buffer // it grows with what comes, not with what is announced
	if _, err := io.CopyN(&body, s.in, int64(size)); err != nil {
		return err
	}
	return s.decode(body.Bytes(), v)
}

func (s *stream) decode(body []byte, v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not a frame: %v", r)
		}
	}()
	s.feed.Reset(body)
	if err := s.decoder.Decode(v); err != nil {
		return fmt.Errorf("not a frame: %w", err)
	}
	if s.feed.Len() > 0 {
		return errors.New("a frame with more than one message")
	}
	return nil
}

// write puts a frame into the buffer.
func (s *stream) write(v any) error {
	s.buffer.Reset()
	if err := s.encoder.Encode(v); err != nil {
		return err
	}
	if s.buffer.Len() > maxFrameBytes {
		return fmt.Errorf("a frame of %d bytes; at most %d", s.buffer.Len(), maxFrameBytes)
	}
	var head [4]byte
	binary.BigEndian.PutUint32(head[:], uint32(s.buffer.Len()))
	_, err := s.out.Write(head[:])
	if err == nil {
		_, err = s.out.Write(s.buffer.Bytes())
	}
	if s.buffer.Cap() > 16*bufferBytes { // one large message must not hold its memory for ever
		s.buffer = *bytes.NewBuffer(nil)
	}
	return err
}

func (s *stream) flush() error { return s.out.Flush() }
