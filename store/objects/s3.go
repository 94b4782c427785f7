package objects

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"meridian/chat"
)

// The time-outs of S3: of a connection, of the beginning of an answer, and of a look at what is there.
const (
	dialWithin   = 3 * time.Second
	answerWithin = 10 * time.Second
	askWithin    = 15 * time.Second
	// tries of one request; a Put whose content cannot be read again is tried once.
	tries = 2
	// getTries bounds how often a Get looks again for an object that is replaced all the time: each time somebody has put another meanwhile.
	getTries = 100
	// hashKey is where an object's SHA-256 lies in its metadata.
	hashKey = "Meridian-Sha256"
)

// S3Options say where objects lie.
type S3Options struct {
	Address string // host:port
	Bucket  string // must be there
	Region  string // "": us-east-1
	Access  string
	Secret  string
	TLS     *tls.Config // nil: nothing is encrypted
}

// S3 is a chat.Objects in a bucket, by path-style addresses.
type S3 struct {
	core   *minio.Core
	bucket string
}

// OpenS3 looks for the bucket. Errors: CodeInvalid for one that is not there, CodeDenied for wrong credentials, CodeRegionDegraded with
// RetryAfter when the server does not answer.
func OpenS3(ctx context.Context, o S3Options) (*S3, error) {
	const op = "objects.OpenS3"
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if _, port, err := net.SplitHostPort(o.Address); err != nil || strings.ContainsAny(port, "/?") {
		return nil, invalid(op, "the address of the object store is not host:port")
	}
	d := net.Dialer{Timeout: dialWithin}
	core, err := minio.NewCore(o.Address, &minio.Options{
		Creds: credentials.NewStaticV4(o.Access, o.Secret, ""), Secure: o.TLS != nil, Region: o.Region, BucketLookup: minio.BucketLookupPath,
		MaxRetries: tries,
		Transport: &http.Transport{
			DialContext: d.DialContext, TLSClientConfig: o.TLS, TLSHandshakeTimeout: dialWithin, ResponseHeaderTimeout: answerWithin,
			MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
		},
	})
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "the address of the object store is not host:port", Cause: err}
	}
	s := &S3{core: core, bucket: o.Bucket}
	if _, err := s.List(ctx, "", "", 1); err != nil { // a HEAD of the bucket would not say what is wrong
		return nil, err
	}
	return s, nil
}

// s3Error says what an answer of the server, or none, means.
func s3Error(op string, err error) error {
	var known *chat.Error
	if errors.As(err, &known) {
		return known
	}
	answer := minio.ToErrorResponse(err)
	switch answer.Code {
	case minio.NoSuchKey:
		return notFound(op)
	case minio.NoSuchBucket:
		return invalid(op, "the object store has no bucket of that name")
	case "XAmzContentSHA256Mismatch", "BadDigest", "IncompleteBody", "InvalidRange":
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "the object store refuses the content", Cause: err}
	case "EntityTooLarge":
		return &chat.Error{Code: chat.CodeTooLarge, Op: op, Message: "the object store takes no object of that size", Cause: err}
	case "QuotaExceeded", "StorageFull", "XMinioStorageFull":
		return &chat.Error{Code: chat.CodeStoreFull, Op: op, Message: "the object store is full", Cause: err, RetryAfter: retryAfter}
	}
	if c := answer.StatusCode; c >= 400 && c < 500 && c != http.StatusRequestTimeout && c != http.StatusTooManyRequests {
		return &chat.Error{Code: chat.CodeDenied, Op: op, Message: "the object store refuses what this deployment asks for", Cause: err}
	}
	if why := chat.Untrusted(err); why != "" {
		return degraded(op, "the object store is not trusted: "+why, err)
	}
	return degraded(op, "the object store does not answer", err)
}

// Put implements chat.Objects. The server is told size and hash before the content, and keeps nothing that differs.
func (s *S3) Put(ctx context.Context, info chat.ObjectInfo, r io.Reader) error {
	const op = "objects.S3.Put"
	if err := chat.CheckObject(info); err != nil {
		return err
	}
	c := newContent(info, r)
	sum := hex.EncodeToString(info.SHA256[:])
	_, err := s.core.PutObject(ctx, s.bucket, info.Key, s3Body{c}, info.Size, "", sum, minio.PutObjectOptions{
		UserMetadata: map[string]string{hashKey: sum}, DisableContentSha256: false,
	})
	if err == nil && info.Size == 0 { // nobody has read it
		_, err = io.Copy(io.Discard, c)
	}
	if c.err != nil && !errors.Is(c.err, io.EOF) {
		return c.err
	}
	if err != nil {
		return s3Error(op, err)
	}
	return nil
}

// s3Body hides everything but Read: the client must not look for other ways to read.
type s3Body struct{ io.Reader }

// stat gives what the server knows of an object.
func (s *S3) stat(ctx context.Context, op, key string) (info chat.ObjectInfo, etag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	have, err := s.core.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return info, "", s3Error(op, err)
	}
	info = chat.ObjectInfo{Key: key, Size: have.Size}
	for name, value := range have.UserMetadata {
		if strings.EqualFold(name, hashKey) {
			if n, err := hex.Decode(info.SHA256[:], []byte(value)); err != nil || n != sha256.Size {
				return info, "", degraded(op, "an object's hash is damaged", err)
			}
			return info, have.ETag, nil
		}
	}
	return info, "", degraded(op, "an object has no hash: it was not put by Meridian", nil)
}

// Get implements chat.Objects.
func (s *S3) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, chat.ObjectInfo, error) {
	const op = "objects.S3.Get"
	if err := chat.CheckObjectKey(key); err != nil {
		return nil, chat.ObjectInfo{}, err
	}
	for try := 1; ; try++ {
		r, info, err := s.get(ctx, op, key, offset, length)
		if minio.ToErrorResponse(errors.Unwrap(err)).StatusCode != http.StatusPreconditionFailed {
			return r, info, err
		}
		if try == getTries { // it was replaced each time between the look and the reading
			return nil, chat.ObjectInfo{}, degraded(op, "an object is replaced all the time", err)
		}
	}
}

func (s *S3) get(ctx context.Context, op, key string, offset, length int64) (io.ReadCloser, chat.ObjectInfo, error) {
	info, etag, err := s.stat(ctx, op, key)
	if err != nil {
		return nil, chat.ObjectInfo{}, err
	}
	if length, err = checkRange(op, info.Size, offset, length); err != nil {
		return nil, chat.ObjectInfo{}, err
	}
	if length == 0 {
		return io.NopCloser(strings.NewReader("")), info, nil
	}
	var o minio.GetObjectOptions
	if length < info.Size {
		err = o.SetRange(offset, offset+length-1)
	}
	if err == nil {
		err = o.SetMatchETag(etag) // of what was looked at
	}
	if err != nil {
		return nil, chat.ObjectInfo{}, invalid(op, "a range lies outside the object")
	}
	body, _, _, err := s.core.GetObject(ctx, s.bucket, key, o)
	if err != nil {
		return nil, chat.ObjectInfo{}, s3Error(op, err)
	}
	if length == info.Size {
		body = newChecked(body, info.SHA256)
	}
	return body, info, nil
}

// Delete implements chat.Objects.
func (s *S3) Delete(ctx context.Context, key string) error {
	if err := chat.CheckObjectKey(key); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	err := s.core.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{})
	if err != nil {
		err = s3Error("objects.S3.Delete", err)
	}
	if chat.CodeOf(err) == chat.CodeNotFound {
		return nil
	}
	return err
}

// List implements chat.Objects.
func (s *S3) List(ctx context.Context, prefix, after string, limit int) ([]chat.ObjectInfo, error) {
	const op = "objects.S3.List"
	if err := checkPage(op, prefix, after, limit); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin) // also ends the listing when there is enough
	defer cancel()
	var found []chat.ObjectInfo
	for have := range s.core.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: prefix, StartAfter: after, Recursive: true, MaxKeys: limit}) {
		if have.Err != nil {
			return nil, s3Error(op, have.Err)
		}
		if strings.HasSuffix(have.Key, "/") {
			continue // what some servers show of directories
		}
		found = append(found, chat.ObjectInfo{Key: have.Key, Size: have.Size})
		if len(found) == limit {
			break
		}
	}
	return found, nil
}
