package local

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// identity names a process for good: pids are given out again, but not with the same time of start.
type identity struct {
	pid     int
	started string // field 22 of /proc/PID/stat, in clock ticks since the machine's start
}

// identify gives the identity of a process that runs.
func identify(pid int) (identity, error) {
	fields, err := stat(pid)
	if err != nil {
		return identity{}, err
	}
	return identity{pid: pid, started: fields[startField]}, nil
}

// Places in what stat gives: man 5 proc counts from 1, with the pid and the name, which are cut off here.
const (
	cutOff     = 3
	stateField = 0 // the first that is left
	groupField = 5 - cutOff
	startField = 22 - cutOff
)

// stat gives the fields of /proc/PID/stat after the process's name, which may hold anything.
func stat(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) <= startField {
		return nil, fmt.Errorf("/proc/%d/stat is cut off", pid)
	}
	return fields, nil
}

// alive says whether the process is there and no zombie.
func (id identity) alive() bool {
	if id.pid == 0 {
		return false
	}
	fields, err := stat(id.pid)
	return err == nil && fields[startField] == id.started && fields[stateField] != "Z" && fields[stateField] != "X"
}

// gone says whether the process and all of its group have ended; zombies, which only wait to be asked how, do not count.
func (id identity) gone() bool {
	if id.alive() {
		return false
	}
	// A pid is not given out again while a group has it for its name.
	if fields, err := stat(id.pid); err == nil && fields[startField] != id.started {
		return true
	}
	return groupGone(id.pid)
}

// groupGone looks for a living member of the process group.
func groupGone(group int) bool {
	if errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) {
		return true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		fields, err := stat(pid)
		if err == nil && fields[groupField] == strconv.Itoa(group) && fields[stateField] != "Z" && fields[stateField] != "X" {
			return false
		}
	}
	return true
}

const goneEvery = 10 * time.Millisecond

func (id identity) goneWithin(wait time.Duration) bool {
	for deadline := time.Now().Add(wait); ; time.Sleep(goneEvery) {
		if id.gone() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// writePIDFile keeps the identity for who comes later.
func (id identity) writePIDFile(path string) error {
	return os.WriteFile(path, fmt.Appendf(nil, "%d %s\n", id.pid, id.started), 0o600)
}

// readPIDFile gives what writePIDFile kept, if it still runs.
func readPIDFile(path string) (identity, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return identity{}, err
	}
	var id identity
	if _, err := fmt.Sscan(string(b), &id.pid, &id.started); err != nil {
		return identity{}, fmt.Errorf("%s: %w", path, err)
	}
	if !id.alive() {
		return identity{}, fmt.Errorf("%s: no such process", path)
	}
	return id, nil
}
