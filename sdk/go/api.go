package meridian

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// API makes REST calls to one region or to the router. It is safe for several goroutines.
type API struct {
	// BaseURL is the region's or the router's, without a path.
	BaseURL string
	// Token gives the access token for calls that need one; nil: calls go out without.
	Token func(ctx context.Context) (string, error)
	// HTTP makes the requests; nil: http.DefaultClient. Redirects are followed by this package.
	HTTP *http.Client
	// Header is added to every request.
	Header http.Header
}

const (
	// answerMax bounds an answer, in bytes: a page of 100 messages of the largest size fits.
	answerMax = 16 << 20
	// movesMax bounds how often a call follows "wrong_region".
	movesMax = 3
)

// do makes one call and reads the answer into out (nil: none is expected). A region that may not serve this user names the
// right one, and the call goes there. Errors are *Error: the server's, CodeUnreachable, or CodeProtocol.
func (a *API) do(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return &Error{Code: CodeInvalid, Message: "request cannot be encoded", Cause: err}
		}
	}
	base := a.BaseURL
	for move := 0; ; move++ {
		err := a.once(ctx, method, base+path, body, out)
		var e *Error
		if move == movesMax || !errors.As(err, &e) || e.Code != CodeWrongRegion || len(e.Endpoints) == 0 {
			return err
		}
		base = e.Endpoints[0].URL
	}
}

func (a *API) once(ctx context.Context, method, target string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return &Error{Code: CodeInvalid, Message: "not a request", Cause: err}
	}
	maps.Copy(req.Header, a.Header)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.Token != nil {
		token, err := a.Token(ctx)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{}
	if a.HTTP != nil {
		client = *a.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Do(req)
	if err != nil {
		return &Error{Code: CodeUnreachable, Retryable: true, Cause: err}
	}
	defer func() { _ = answer.Body.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(answer.Body, answerMax))
	if err != nil {
		return &Error{Code: CodeUnreachable, Retryable: true, Cause: err}
	}
	if answer.StatusCode >= 300 {
		return refusal(answer, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return &Error{Code: CodeProtocol, HTTPStatus: answer.StatusCode, Message: "answer is not the expected JSON", Cause: err}
	}
	return nil
}

// refusal reads the error in an answer.
func refusal(answer *http.Response, body []byte) *Error {
	var w wireError
	if json.Unmarshal(body, &w) != nil || w.Code == "" {
		w = wireError{Code: CodeProtocol, Message: answer.Status, Retryable: answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests}
	}
	e := w.err()
	e.HTTPStatus = answer.StatusCode
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && e.RetryAfter == 0 && seconds >= 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}

// withQuery adds the parameters that are not empty, given as name, value, name, value.
func withQuery(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

func limitText(limit int) string {
	if limit <= 0 {
		return ""
	}
	return strconv.Itoa(limit)
}

// socketURL gives the address of the socket under a base URL.
func socketURL(base string) string {
	base = strings.TrimSuffix(base, "/")
	if rest, ok := strings.CutPrefix(base, "https://"); ok {
		return "wss://" + rest + "/v1/ws"
	}
	return "ws://" + strings.TrimPrefix(base, "http://") + "/v1/ws"
}
