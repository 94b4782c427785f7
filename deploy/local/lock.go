package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

const lockEvery = 200 * time.Millisecond

// lockFile waits until no other process holds the lock on a file, and takes it.
func lockFile(ctx context.Context, path string, progress Progress) (unlock func(), err error) {
	for told := false; ; told = true {
		unlock, err := tryLock(path)
		if err == nil {
			return unlock, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		if !told {
			progress.say("waiting for another process that holds %s", path)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockEvery):
		}
	}
}

// TryLock takes the lock on a file, which is made if it does not exist, unless another process holds it. It holds until unlock is
// called or dropped: the lock is as long there as somebody refers to it.
func TryLock(path string) (unlock func(), ok bool) {
	unlock, err := tryLock(path)
	return unlock, err == nil
}

func tryLock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // which gives the lock back
}
