package geo

import (
	"errors"
	"fmt"

	"meridian/chat"
)

// Fault says what is wrong with an address file, or another that routers load while they serve.
type Fault string

// The faults.
const (
	FaultUnreadable Fault = "unreadable" // it is not there, or may not be read
	FaultEmpty      Fault = "empty"      // no byte, or no network
	FaultCorrupt    Fault = "corrupt"    // not an MMDB file, or damaged
	FaultWrongType  Fault = "wrong_type" // an MMDB file of something else
	FaultStale      Fault = "stale"      // too old, or older than what it would replace
	FaultTooLarge   Fault = "too_large"  // more than the tables can hold
	FaultChecksum   Fault = "checksum"   // not what the checksum says
	FaultCanaries   Fault = "canaries"   // too many well-known addresses would move
)

// FileError is the cause of the errors about such files; chat.Error stands around it with CodeInvalid.
type FileError struct {
	File  string
	Fault Fault
	Cause error // nil when Fault says all
}

// Error gives the cause in words.
func (e *FileError) Error() string {
	if e.Cause == nil {
		return string(e.Fault)
	}
	return fmt.Sprintf("%s: %v", e.Fault, e.Cause)
}

// Unwrap gives the cause.
func (e *FileError) Unwrap() error { return e.Cause }

// FaultOf gives what is wrong with an address file; "" for other errors.
func FaultOf(err error) Fault {
	var e *FileError
	if errors.As(err, &e) {
		return e.Fault
	}
	return ""
}

func unusable(file string, fault Fault, what string, cause error) error {
	return NewFileError("geo.Open", file, fault, what, cause)
}

// NewFileError says that a file cannot be used: what is wrong in a word, and in words that follow its name.
func NewFileError(op, file string, fault Fault, what string, cause error) error {
	return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: file + " " + what, Cause: &FileError{File: file, Fault: fault, Cause: cause}}
}
