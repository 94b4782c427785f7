package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockData takes the data directory for this process; a second `up` on it is refused with the reason.
func lockData(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "up.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(path) // only for the message
		_ = f.Close()
		return nil, &exitError{
			code: exitRefused,
			what: fmt.Sprintf("%s is in use by another meridian up (process %s)", dir, strings.TrimSpace(string(holder))),
			next: "meridian status --data " + dir + ", or choose another --data",
		}
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid()) // only for the message of a second up
	}
	return func() { _ = f.Close() }, nil // the lock goes with the file
}
