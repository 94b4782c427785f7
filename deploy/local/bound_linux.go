package local

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starts are commands for the thread that starts servers.
type starts struct {
	once     sync.Once
	commands chan bound
}

type bound struct {
	cmd     *exec.Cmd
	started chan error
}

var binder starts

// startBound starts cmd so that the kernel kills it when this process ends, however that happens: a test that panics, or is
// killed, leaves no server. The kernel watches the thread that started it, so one thread that lives as long as the process
// starts them all.
func startBound(cmd *exec.Cmd) error {
	binder.once.Do(func() {
		binder.commands = make(chan bound)
		go func() {
			runtime.LockOSThread()
			for b := range binder.commands {
				b.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
				b.started <- b.cmd.Start()
			}
		}()
	})
	b := bound{cmd: cmd, started: make(chan error)}
	binder.commands <- b
	return <-b.started
}
