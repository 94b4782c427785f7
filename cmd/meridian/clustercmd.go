package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"meridian/chat"
)

const (
	// wordsBytes is how much of the last words of a command of the configuration an error shows.
	wordsBytes = 2 << 10
	// clusterCommandGrace is how long such a command is waited for when it was told to end.
	clusterCommandGrace = 10 * time.Second
)

// clusterCommand gives what runs a command of the configuration on a keyspace and a directory; nil where none is configured. What the command says
// goes to talk too.
func clusterCommand(words []string, talk io.Writer) func(ctx context.Context, keyspace, dir string) error {
	if len(words) == 0 {
		return nil
	}
	return func(ctx context.Context, keyspace, dir string) error {
		cmd := exec.CommandContext(ctx, words[0], append(words[1:len(words):len(words)], keyspace, dir)...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = clusterCommandGrace
		said := &lastWords{}
		cmd.Stdout = io.MultiWriter(said, talk)
		cmd.Stderr = cmd.Stdout
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %s", words[0], err, bytes.TrimSpace(said.text))
		}
		return nil
	}
}

// lastWords keeps the end of what is written.
type lastWords struct{ text []byte }

func (l *lastWords) Write(p []byte) (int, error) {
	l.text = append(l.text, p...)
	l.text = l.text[max(0, len(l.text)-wordsBytes):]
	return len(p), nil
}

// snapshotCommand gives what takes a snapshot of a cluster for a node, and sees that it did.
func snapshotCommand(words []string) func(ctx context.Context, keyspace, dir string) error {
	run := clusterCommand(words, io.Discard)
	if run == nil {
		return nil
	}
	return func(ctx context.Context, keyspace, dir string) error {
		if err := run(ctx, keyspace, dir); err != nil {
			return err
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return &chat.Error{Code: chat.CodeInvalid, Op: "meridian.snapshot", Message: words[0] + " ended well, but " + dir + " is not there", Cause: err}
		}
		return nil
	}
}
