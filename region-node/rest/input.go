package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"unicode/utf8"

	"meridian/chat"
)

// The page sizes of lists.
const pageDefault, pageMax = 50, 100

func invalid(format string, args ...any) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "rest", Message: fmt.Sprintf(format, args...)}
}

// decode reads the request's body, one JSON object, into v; fields that v does not know are left out. Errors: CodeTooLarge,
// CodeInvalidUTF8, CodeInvalid for what is no JSON object or has a field of the wrong type, which is named.
func (h *handler) decode(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(h.Config.Limits.RequestBytes)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &chat.Error{Code: chat.CodeTooLarge, Op: "rest", Message: fmt.Sprintf("body of more than %d bytes", h.Config.Limits.RequestBytes)}
	case err != nil:
		return invalid("body cannot be read")
	case !utf8.Valid(body):
		return &chat.Error{Code: chat.CodeInvalidUTF8, Op: "rest", Message: "body is not UTF-8"}
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return invalid("body is not a JSON object")
	}
	if err := json.Unmarshal(body, v); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return invalid("field %q must be %s, not %s", wrong.Field, wrong.Type, wrong.Value)
		}
		return invalid("body is not JSON")
	}
	return nil
}

// required refuses a request where one of the named fields is empty; it takes name, value, name, value …
func required(fields ...string) error {
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i+1] == "" {
			return invalid("field %q is missing", fields[i])
		}
	}
	return nil
}

// limit gives the page size that is asked for, at most pageMax.
func limit(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return pageDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, invalid("limit must be a number from 1 to %d", pageMax)
	}
	return min(n, pageMax), nil
}

// idParam gives the id in the query parameter of that name, zero if there is none.
func idParam(r *http.Request, name string) (chat.UUID, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return chat.UUID{}, nil
	}
	id, err := chat.ParseUUID(text)
	if err != nil {
		return id, invalid("%s is not an id", name)
	}
	return id, nil
}

// page gives the query parameters of a list of messages or conversations.
func page(r *http.Request) (before chat.MessageID, n int, err error) {
	if n, err = limit(r); err != nil {
		return before, 0, err
	}
	id, err := idParam(r, "before")
	before = chat.MessageID(id)
	if err == nil && before != chat.NoMessage && before.Time() == 0 {
		err = invalid("before is not a message id")
	}
	return before, n, err
}
