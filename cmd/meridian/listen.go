package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listenFree listens on addr, or, when that port is taken and moving is allowed, on a free port of the same host.
func listenFree(addr string, mayMove bool) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err == nil || !mayMove || !errors.Is(err, syscall.EADDRINUSE) {
		if err != nil {
			return nil, fmt.Errorf("cannot listen on %s: %w", addr, err)
		}
		return l, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}
