package local

import (
	"os"
	"strconv"
	"syscall"
)

// A PostgreSQL server is a process per connection besides the first one, each in a group of its own: what is done to the server must be done
// to all.

// Kill ends the server and its children by SIGKILL.
func (p *Postgres) Kill() error {
	_ = p.Process.Freeze() // it makes no more children: one that outlives it keeps the next server from starting
	children := childrenOf(p.PID())
	err := p.Process.Kill()
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended with its parent
	}
	for _, pid := range children {
		identity{pid: pid, started: startOf(pid)}.goneWithin(killWithin)
	}
	return err
}

// Freeze stops the server and its children where they stand.
func (p *Postgres) Freeze() error {
	err := p.Process.Freeze() // the first: it makes no more children then
	for _, pid := range childrenOf(p.PID()) {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	return err
}

// Continue lets a frozen server go on.
func (p *Postgres) Continue() error {
	for _, pid := range childrenOf(p.PID()) {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	return p.Process.Continue()
}

// parentField is a place in what stat gives.
const parentField = 4 - cutOff

// childrenOf gives the processes that pid has made and that have not ended.
func childrenOf(pid int) (children []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil || pid == 0 {
		return nil
	}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if fields, err := stat(child); err == nil && fields[parentField] == strconv.Itoa(pid) {
			children = append(children, child)
		}
	}
	return children
}

// startOf gives when a process began, "" for one that is not there.
func startOf(pid int) string {
	fields, err := stat(pid)
	if err != nil {
		return ""
	}
	return fields[startField]
}
