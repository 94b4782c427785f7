package postgres

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"meridian/chat"
)

// failure gives err as a chat.Error. written says that the statement may have been done when its answer is missing.
func failure(op string, err error, written bool) error {
	var known *chat.Error
	if errors.As(err, &known) {
		return known
	}
	e := &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: "the account store does not answer", Cause: err, RetryAfter: retryAfter}
	if why := chat.Untrusted(err); why != "" {
		e.Message = "the account store is not trusted: " + why
		return e
	}
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		e.Code, e.Message = answered(pg)
	case written && !pgconn.SafeToRetry(err):
		e.Code = chat.CodeUnknownOutcome
	}
	if e.Code == chat.CodeInvalid {
		e.RetryAfter = 0
	}
	return e
}

// answered says what an error means that the server itself gave: it has done nothing then. Messages name no value of a row.
func answered(pg *pgconn.PgError) (chat.Code, string) {
	class := pg.Code[:min(2, len(pg.Code))]
	switch {
	case class == "22" || class == "23" || class == "54": // data exception, constraint, a row too large
		return chat.CodeInvalid, "the account store refuses a row (" + pg.Code + ")"
	case class == "28":
		return chat.CodeRegionDegraded, "the account store refuses the user or the password"
	case class == "3D":
		return chat.CodeRegionDegraded, "the account store has no such database"
	case pg.Code == "53100":
		return chat.CodeStoreFull, "the account store's disk is full"
	case pg.Code == "42501" || strings.HasPrefix(pg.Code, "25006"):
		return chat.CodeRegionDegraded, "the account store does not let this user write"
	}
	return chat.CodeRegionDegraded, "the account store refuses for now (" + pg.Code + ")"
}
