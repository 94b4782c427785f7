package chat

import (
	"context"
	"crypto/sha256"
	"io"
	"strings"
)

// Bounds of objects.
const (
	// MaxObjectBytes bounds one object.
	MaxObjectBytes = 256 << 20
	// MaxObjectKeyBytes bounds a key.
	MaxObjectKeyBytes = 512
	// MaxObjectPartBytes bounds what stands between two slashes of a key.
	MaxObjectPartBytes = 200
	// MaxObjectPage bounds one page of List.
	MaxObjectPage = 1000
)

// ObjectInfo is what is known of an object without reading it.
type ObjectInfo struct {
	// Key is 1 to MaxObjectKeyBytes of a-z, A-Z, 0-9, -, _, . and /; no part between slashes is empty, "." or "..", or longer than
	// MaxObjectPartBytes. No key may be that of another with a slash and more behind it: stores on file systems refuse that.
	Key string
	// Size is in bytes.
	Size int64
	// SHA256 is of the content; List leaves it zero.
	SHA256 [sha256.Size]byte
}

// Objects keeps files: what people attach. Every implementation passes storetest.RunObjects. All methods are safe for concurrent
// use.
//
// Errors: CodeInvalid for a key, a size, a range or a page that is out of bounds, CodeNotFound for a key that is not there,
// CodeTooLarge beyond MaxObjectBytes, CodeStoreFull when there is no room, CodeDenied when the server refuses what this
// deployment may do, CodeRegionDegraded with RetryAfter when it does not answer.
type Objects interface {
	// Put stores the object; its content is read from r, which must give exactly info.Size bytes with that SHA-256 (else CodeInvalid, and nothing
	// is stored). It is durable on return, and whole or not there at any time. An object that is there already is
	// replaced; put again with the same content nothing changes.
	Put(ctx context.Context, info ObjectInfo, r io.Reader) error
	// Get gives the content from offset on, length bytes of it (-1: to the end). Who reads must close it; reading to the end of a whole object
	// whose content is damaged ends with an error with CodeRegionDegraded.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, ObjectInfo, error)
	// Delete removes the object; that there is none is no error. Durable on return.
	Delete(ctx context.Context, key string) error
	// List gives the objects whose keys begin with prefix and come after the given one, ascending by the bytes of the key, at most limit
	// (1 to MaxObjectPage).
	List(ctx context.Context, prefix, after string, limit int) ([]ObjectInfo, error)
}

// CheckObjectKey refuses a key that an object cannot have. The error has CodeInvalid.
func CheckObjectKey(key string) error {
	if len(key) > MaxObjectKeyBytes {
		return malformedKey()
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." || len(part) > MaxObjectPartBytes {
			return malformedKey()
		}
		for i := range len(part) {
			if !objectByte(part[i]) {
				return malformedKey()
			}
		}
	}
	return nil
}

func objectByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

func malformedKey() error {
	return &Error{
		Code: CodeInvalid, Op: "chat.Objects",
		Message: "a key is 1 to 512 of a-z, A-Z, 0-9, -, _, . and /, and no part of it is empty, . or .., or has more than 200",
	}
}

// CheckObject refuses what Put must not take.
func CheckObject(info ObjectInfo) error {
	if err := CheckObjectKey(info.Key); err != nil {
		return err
	}
	switch {
	case info.Size < 0:
		return &Error{Code: CodeInvalid, Op: "chat.Objects", Message: "a size is negative"}
	case info.Size > MaxObjectBytes:
		return &Error{Code: CodeTooLarge, Op: "chat.Objects", Message: "an object has at most 256 MiB"}
	}
	return nil
}
