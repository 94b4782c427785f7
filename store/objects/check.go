package objects

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"syscall"
	"time"

	"meridian/chat"
)

// retryAfter is told to who meets a store that does not answer.
const retryAfter = 2 * time.Second

func invalid(op, message string) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: message}
}

func notFound(op string) error {
	return &chat.Error{Code: chat.CodeNotFound, Op: op, Message: "no such object"}
}

func degraded(op, message string, cause error) error {
	return &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: message, Cause: cause, RetryAfter: retryAfter}
}

// diskError says what an error of the file system means.
func diskError(op string, err error) error {
	var known *chat.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return &chat.Error{Code: chat.CodeStoreFull, Op: op, Message: "the disk for objects is full", Cause: err, RetryAfter: retryAfter}
	}
	return degraded(op, "the disk for objects fails", err)
}

// checkRange gives how many bytes of an object of that size are asked for.
func checkRange(op string, size, offset, length int64) (int64, error) {
	if offset < 0 || offset > size || length < -1 {
		return 0, invalid(op, "a range lies outside the object")
	}
	if length == -1 || length > size-offset {
		length = size - offset
	}
	return length, nil
}

func checkPage(op, prefix, after string, limit int) error {
	if limit < 1 || limit > chat.MaxObjectPage {
		return invalid(op, "a page has 1 to 1000 objects")
	}
	if len(prefix) > chat.MaxObjectKeyBytes || len(after) > chat.MaxObjectKeyBytes {
		return invalid(op, "a prefix, or the key to go on after, is too long")
	}
	return nil
}

// content reads what Put is given: exactly so many bytes with that hash, or it ends with an error.
type content struct {
	r    io.Reader
	info chat.ObjectInfo
	hash hash.Hash
	read int64
	err  error
}

func newContent(info chat.ObjectInfo, r io.Reader) *content {
	return &content{r: r, info: info, hash: sha256.New()}
}

// Read implements io.Reader. The last bytes are given only when all is right: who has stored everything up to io.EOF has the
// right thing.
func (c *content) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.read += int64(n)
	c.hash.Write(p[:n])
	if c.read == c.info.Size && err == nil {
		err = c.more()
	}
	switch {
	case c.read > c.info.Size:
		c.err = invalid("objects.Put", "the content is longer than was said")
	case errors.Is(err, io.EOF) && c.read < c.info.Size:
		c.err = invalid("objects.Put", "the content is shorter than was said")
	case errors.Is(err, io.EOF) && !bytes.Equal(c.hash.Sum(nil), c.info.SHA256[:]):
		c.err = invalid("objects.Put", "the content has another hash than was said")
	case errors.Is(err, io.EOF):
		c.err = io.EOF
	case err != nil:
		c.err = &chat.Error{Code: chat.CodeInvalid, Op: "objects.Put", Message: "the content cannot be read to its end", Cause: err}
	default:
		return n, nil
	}
	if !errors.Is(c.err, io.EOF) {
		n = 0
	}
	return n, c.err
}

// more looks whether anything follows the last byte that was said: who reads no further than that must not have the whole of what is longer.
func (c *content) more() error {
	var next [1]byte
	for {
		n, err := c.r.Read(next[:])
		if c.read += int64(n); n > 0 || err != nil {
			return err
		}
	}
}

// checked ends a whole object's content with an error when it is damaged.
type checked struct {
	io.ReadCloser
	hash hash.Hash
	want [sha256.Size]byte
}

func newChecked(r io.ReadCloser, want [sha256.Size]byte) io.ReadCloser {
	return &checked{ReadCloser: r, hash: sha256.New(), want: want}
}

// Read implements io.Reader.
func (c *checked) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.hash.Write(p[:n])
	if errors.Is(err, io.EOF) && !bytes.Equal(c.hash.Sum(nil), c.want[:]) {
		err = degraded("objects.Get", "an object is damaged", nil)
	}
	return n, err
}
