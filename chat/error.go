package chat

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Code says what went wrong, for programs. Codes cross the wire: add, never rename; docs/protocol.md lists each.
type Code string

// The codes.
const (
	CodeInvalid             Code = "invalid"
	CodeBadFrame            Code = "bad_frame"
	CodeUnknownFrame        Code = "unknown_frame"
	CodeTooLarge            Code = "too_large"
	CodeTooOld              Code = "too_old"
	CodeInvalidUTF8         Code = "invalid_utf8"
	CodeEmptyText           Code = "empty_text"
	CodeSelfMessage         Code = "self_message"
	CodeUnauthorized        Code = "unauthorized"
	CodeBadCredentials      Code = "bad_credentials"
	CodeZoneNotAllowed      Code = "zone_not_allowed"
	CodeDenied              Code = "denied"
	CodeBlocked             Code = "blocked"
	CodeNotMember           Code = "not_member"
	CodeUnknownUser         Code = "unknown_user"
	CodeUnknownConversation Code = "unknown_conversation"
	CodeUnknownMessage      Code = "unknown_message"
	CodeNotFound            Code = "not_found"
	CodeMethodNotAllowed    Code = "method_not_allowed"
	CodeUnsupportedEncoding Code = "unsupported_encoding"
	CodeUsernameTaken       Code = "username_taken"
	CodeClientIDReused      Code = "client_id_reused"
	CodeAfterUnknown        Code = "after_unknown"
	CodeVersionConflict     Code = "version_conflict"
	CodeWrongRegion         Code = "wrong_region"
	CodeRateLimited         Code = "rate_limited"
	CodeBusy                Code = "busy"
	CodeNoMajority          Code = "no_majority"
	CodeRegionDegraded      Code = "region_degraded"
	CodeStoreFull           Code = "store_full"
	CodeZoneUnreachable     Code = "zone_unreachable"
	CodeClockSkew           Code = "clock_skew"
	CodeUnknownOutcome      Code = "unknown_outcome"
	CodeUpgradePending      Code = "upgrade_pending"
	CodeSlowConsumer        Code = "slow_consumer"
	CodeHelloTimeout        Code = "hello_timeout"
	CodeHeartbeatTimeout    Code = "heartbeat_timeout"
	CodeInternal            Code = "internal"
)

// CodeInfo is what a code means to HTTP and to a client's retry loop.
type CodeInfo struct {
	HTTPStatus int
	Retryable  bool
}

// Codes lists every code. HTTPStatus 0: the code never answers a request.
var Codes = map[Code]CodeInfo{
	CodeInvalid: {400, false}, CodeBadFrame: {400, false}, CodeUnknownFrame: {400, false}, CodeTooLarge: {413, false},
	CodeTooOld:      {410, false},
	CodeInvalidUTF8: {400, false}, CodeEmptyText: {400, false}, CodeSelfMessage: {400, false},
	CodeUnauthorized: {401, false}, CodeBadCredentials: {401, false},
	CodeZoneNotAllowed: {403, false}, CodeDenied: {403, false}, CodeBlocked: {403, false}, CodeNotMember: {403, false},
	CodeUnknownUser: {404, false}, CodeUnknownConversation: {404, false}, CodeUnknownMessage: {404, false},
	CodeNotFound: {404, false}, CodeMethodNotAllowed: {405, false}, CodeUnsupportedEncoding: {415, false},
	CodeUsernameTaken: {409, false}, CodeClientIDReused: {409, false}, CodeAfterUnknown: {409, true}, CodeVersionConflict: {409, true},
	CodeWrongRegion: {307, true}, CodeRateLimited: {429, true},
	CodeBusy: {503, true}, CodeNoMajority: {503, true}, CodeRegionDegraded: {503, true}, CodeStoreFull: {503, true},
	CodeZoneUnreachable: {503, true}, CodeClockSkew: {503, true}, CodeUnknownOutcome: {503, true},
	CodeUpgradePending: {503, true},
	CodeSlowConsumer:   {0, true}, CodeHelloTimeout: {0, true}, CodeHeartbeatTimeout: {0, true},
	CodeInternal: {500, true},
}

// Error is the one error type. Code is for programs, Message for the user who caused it, Cause for the operator's log only.
type Error struct {
	Code    Code
	Op      string // package.Function, for the log
	Message string // what was wrong, in the caller's words; never content of a message
	Cause   error
	// RetryAfter is set when the caller should wait that long before it tries again.
	RetryAfter time.Duration
	// Endpoints is set with CodeWrongRegion: where to go instead, best first.
	Endpoints []Endpoint
}

// Error prints for the log.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	b.WriteString(string(e.Code))
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is makes errors.Is(err, &Error{Code: c}) compare by code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Retryable says whether the same request may succeed later.
func (e *Error) Retryable() bool { return Codes[e.Code].Retryable }

// HTTPStatus is the status that answers a request with this error.
func (e *Error) HTTPStatus() int {
	if s := Codes[e.Code].HTTPStatus; s != 0 {
		return s
	}
	return 500
}

// CodeOf gives err's code: "" for nil, CodeInternal for an error of another type.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// AsError gives err as *Error, wrapping what is not one as CodeInternal; nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal, Message: "internal error", Cause: err}
}
