package config

import (
	"fmt"
	"strings"

	"meridian/chat"
)

// Problem is one thing that makes no sense in a configuration.
type Problem struct {
	Path    string // the key, as in zones[1].regions[0]
	Line    int    // in the file; 0 where it is not known
	Message string // the value and what is allowed
}

// String gives one line: path, line, what is wrong.
func (p Problem) String() string {
	if p.Line > 0 {
		return fmt.Sprintf("%s (line %d): %s", p.Path, p.Line, p.Message)
	}
	return p.Path + ": " + p.Message
}

// Problems are all that is wrong with a configuration, in the order of its keys; never empty as an error. Its code is
// chat.CodeInvalid.
type Problems []Problem

// Error gives one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the code, for chat.CodeOf.
func (p Problems) Unwrap() error {
	return &chat.Error{Code: chat.CodeInvalid, Op: "config.Validate", Message: fmt.Sprintf("%d problem(s)", len(p))}
}
