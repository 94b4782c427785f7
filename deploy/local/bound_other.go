//go:build !linux

package local

import "os/exec"

// startBound starts cmd. Only Linux can bind its life to this process's.
func startBound(cmd *exec.Cmd) error { return cmd.Start() }
