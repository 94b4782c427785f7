//go:build !linux

package roundtrip

import (
	"net"
	"time"
)

func smoothed(*net.TCPConn) (time.Duration, bool) { return 0, false }
