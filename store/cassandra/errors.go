package cassandra

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/gocql/gocql"

	"meridian/chat"
)

// retryAfter is what callers are told while the region's cluster is away: gocql looks for it every reconnectEvery.
const retryAfter = time.Second

func degraded(op, message string, cause error) error {
	return &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: message, Cause: cause, RetryAfter: retryAfter}
}

func unknown(op string, cause error) error {
	return &chat.Error{Code: chat.CodeUnknownOutcome, Op: op, Message: "the store did not say in time whether it is written", Cause: cause}
}

// away says that the cluster was not reached, so that nothing was written.
func away(err error) bool {
	return errors.Is(err, gocql.ErrNoConnections) || errors.Is(err, gocql.ErrUnavailable) || errors.Is(err, gocql.ErrSessionClosed) ||
		errors.Is(err, gocql.ErrNoStreams) || errors.Is(err, gocql.ErrNoConnectionsStarted)
}

// refusedBefore says that the server refused before it wrote anything: too few replicas are there. Overload is no such case: too many hints
// that wait are found out after the batch log is stored, and what is in it is written later.
func refusedBefore(code int) bool {
	return code == gocql.ErrCodeUnavailable || code == gocql.ErrCodeBootstrapping
}

// fault says that the request is at fault, or what the role may do: sending it again does not help.
func fault(code int) bool {
	switch code {
	case gocql.ErrCodeSyntax, gocql.ErrCodeInvalid, gocql.ErrCodeConfig, gocql.ErrCodeUnauthorized, gocql.ErrCodeProtocol:
		return true
	}
	return false
}

// writeError gives an error of a write its code: CodeRegionDegraded where nothing is written, CodeInvalid where the request is at
// fault, else CodeUnknownOutcome.
func (s *Store) writeError(op string, err error) error {
	var answered gocql.RequestError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, gocql.ErrQueryArgLength):
		return &chat.Error{Code: chat.CodeInternal, Op: op, Message: "a statement and its values do not go together", Cause: err}
	case away(err):
		return degraded(op, "the region's Cassandra cannot be reached", err)
	case errors.As(err, &answered) && refusedBefore(answered.Code()):
		return degraded(op, "the region's Cassandra has too few nodes up", err)
	case errors.As(err, &answered) && fault(answered.Code()):
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "Cassandra refuses the write", Cause: err}
	}
	return unknown(op, err)
}

// readError gives an error of a read its code: nothing is changed by one, so it may be asked again.
func readError(ctx context.Context, op string, err error) error {
	var ours *chat.Error
	var answered gocql.RequestError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return err
	case ctx.Err() != nil:
		return &chat.Error{Code: chat.CodeUnknownOutcome, Op: op, Message: "the caller stopped waiting", Cause: err}
	case errors.As(err, &answered) && fault(answered.Code()):
		return &chat.Error{Code: chat.CodeInternal, Op: op, Message: "Cassandra refuses the query", Cause: err}
	}
	return degraded(op, "the region's Cassandra does not answer", err)
}

// whyNot finds out why a session with a keyspace cannot be opened: gocql gives one error for many reasons.
func whyNot(o Options, err error) error {
	what := "opening " + o.Keyspace
	session, without := cluster(o, "").CreateSession()
	if without != nil {
		return openError(what, without)
	}
	defer session.Close()
	var name string
	if none := durable(session.Query(selectKeyspace, o.Keyspace)).Scan(&name); errors.Is(none, gocql.ErrNotFound) {
		return openError(what, errors.Join(gocql.ErrKeyspaceDoesNotExist, err))
	}
	return openError(what, err)
}

// untrusted stands in the error of a dial to a node that showed no certificate that counts.
const untrusted = "the node is not trusted: "

// openError says what is wrong with a cluster that cannot be worked with.
func openError(what string, err error) error {
	var network net.Error
	var answered gocql.RequestError
	code, message := chat.CodeRegionDegraded, what
	switch {
	case strings.Contains(err.Error(), untrusted): // gocql passes on the words of a dial's error only
		code, message = chat.CodeInvalid, what+": a node of Cassandra is not who it should be"
	case errors.As(err, &answered) && answered.Code() == gocql.ErrCodeCredentials, strings.Contains(err.Error(), "and/or password are incorrect"):
		code, message = chat.CodeInvalid, what+": Cassandra refuses user or password"
	case errors.As(err, &answered) && fault(answered.Code()):
		code, message = chat.CodeInvalid, what+": Cassandra refuses the statement"
	case errors.Is(err, gocql.ErrKeyspaceDoesNotExist):
		code, message = chat.CodeInvalid, what+": the keyspace does not exist; run: meridian schema apply"
	case errors.As(err, &network), errors.Is(err, gocql.ErrNoConnectionsStarted):
		message = what + ": no node of the cluster can be reached"
	}
	return &chat.Error{Code: code, Op: "cassandra.Open", Message: message, Cause: err, RetryAfter: retryAfter}
}
