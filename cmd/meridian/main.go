// Command meridian is the whole of Meridian in one binary: a local three-region deployment (up), one region's node, the
// router, and the operator's verbs. It is the only place that knows every part.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"meridian/chat"
)

// version is set at build time.
var version = "dev"

// The exit codes mean the same for every verb.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitDegraded    = 3
	exitRefused     = 4 // refused for safety
	exitChanged     = 5 // state changed since the plan
	exitUnreachable = 7
)

// exitError is an error that chooses the exit code. Next is the command that helps.
type exitError struct {
	code int
	what string
	next string
}

func (e *exitError) Error() string {
	if e.next == "" {
		return e.what
	}
	return e.what + "\nNext: " + e.next
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if errors.As(err, &exit) {
		if exit.what != "" {
			fmt.Fprintln(stderr, "meridian: "+exit.Error())
		}
		return exit.code
	}
	fmt.Fprintln(stderr, "meridian: "+err.Error())
	var typed *chat.Error
	if errors.As(err, &typed) {
		return exitFailed
	}
	return exitUsage // cobra: unknown verb, flag or argument
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "meridian",
		Short:         "A chat backend that runs in several regions as one system",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(upCommand(), nodeCommand(), storeCommand(), schemaCommand(), routerCommand(), dnsCommand(), route53Command(), statusCommand(), explainCommand(), geoCommand(), rttCommand(), regionCommand(), drainCommand(), undrainCommand(), simulateCommand(), configCommand(), verifyCommand(), backupCommand(), restoreCommand(), objectsCommand(), simCommand(), benchCommand())
	return root
}

// failed turns an error of the work itself (not of the arguments) into exit code 1.
func failed(err error) error {
	if err == nil {
		return nil
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return err
	}
	return &exitError{code: exitFailed, what: err.Error()}
}

// printJSON writes v as indented JSON.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
