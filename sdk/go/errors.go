package meridian

import (
	"errors"
	"fmt"
	"time"
)

// Code says what went wrong, for programs. The server may add codes; none is ever renamed.
type Code string

// The codes of the protocol.
const (
	CodeInvalid             Code = "invalid"
	CodeBadFrame            Code = "bad_frame"
	CodeUnknownFrame        Code = "unknown_frame"
	CodeTooLarge            Code = "too_large"
	CodeInvalidUTF8         Code = "invalid_utf8"
	CodeEmptyText           Code = "empty_text"
	CodeSelfMessage         Code = "self_message"
	CodeUnauthorized        Code = "unauthorized"
	CodeBadCredentials      Code = "bad_credentials"
	CodeZoneNotAllowed      Code = "zone_not_allowed"
	CodeDenied              Code = "denied"
	CodeTooOld              Code = "too_old"
	CodeBlocked             Code = "blocked"
	CodeNotMember           Code = "not_member"
	CodeUnknownUser         Code = "unknown_user"
	CodeUnknownConversation Code = "unknown_conversation"
	CodeUnknownMessage      Code = "unknown_message"
	CodeNotFound            Code = "not_found"
	CodeMethodNotAllowed    Code = "method_not_allowed"
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

// The codes that this package adds; no server sends them.
const (
	// CodeUnreachable: no answer came. The request may have been carried out or not.
	CodeUnreachable Code = "client_unreachable"
	// CodeExpired: a send was not acknowledged within the time that the deployment allows (Limits.ClientOutbox).
	CodeExpired Code = "client_expired"
	// CodeOutboxFull: Options.OutboxMax sends already wait.
	CodeOutboxFull Code = "client_outbox_full"
	// CodeProtocol: the server's answer is not one of this protocol.
	CodeProtocol Code = "client_protocol"
)

// Error is the one error type of this package.
type Error struct {
	Code    Code
	Message string
	// Retryable says that the same request may succeed later.
	Retryable bool
	// RetryAfter is how long to wait first; 0 when the server does not say.
	RetryAfter time.Duration
	// Endpoints is where to go instead, best first, with CodeWrongRegion.
	Endpoints []Endpoint
	// HTTPStatus is the status of a refused request; 0 on a socket.
	HTTPStatus int
	// Cause is the error beneath, if there is one.
	Cause error
}

// Error prints code, message and cause.
func (e *Error) Error() string {
	s := string(e.Code)
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Cause != nil {
		s += fmt.Sprintf(": %v", e.Cause)
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is compares by code: errors.Is(err, &Error{Code: CodeDenied}).
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf gives the code of err: "" for nil, CodeInternal for an error of another package.
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
