package local

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

const addressTries = 100

// given are the addresses and ports that this process has given away: who was told one may not have bound it yet, and may bind it again after
// a kill.
var given sync.Map

var errGiven = errors.New("given away")

// once says that nobody was given this before.
func once(what any) error {
	if _, before := given.LoadOrStore(what, true); before {
		return errGiven
	}
	return nil
}

// loopback gives a loopback address, 127.0.16.1 to 127.0.254.254. It is chosen at random: another process that looks at the same time
// finds another.
func loopback() string { return fmt.Sprintf("127.0.%d.%d", 16+rand.IntN(239), 1+rand.IntN(254)) }

// Address gives a loopback address at which all the ports are free, so that each server has the ports that it has in production and many
// clusters run side by side.
func Address(ports ...int) (string, error) {
	var err error
	for range addressTries {
		addr := loopback()
		if err = free(addr, ports); err == nil {
			err = once(addr)
		}
		if err == nil {
			return addr, nil
		}
	}
	return "", fmt.Errorf("no loopback address has the ports %v free: %w", ports, err)
}

// ListenAddress gives where tests listen: a port that is free, of a loopback address that is theirs. A port of 127.0.0.1 that a test closes and opens
// again may have gone to somebody else's connection meanwhile. Where the system has one loopback address only, it is that.
func ListenAddress() string {
	if addr := loopback(); free(addr, []int{0}) == nil {
		return net.JoinHostPort(addr, "0")
	}
	return "127.0.0.1:0"
}

// AddressFor gives the address of the server whose directory is dir: the one it had before, kept in the file address there, or
// a new one by Address.
func AddressFor(dir string, ports ...int) (string, error) {
	file := filepath.Join(dir, "address")
	b, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	addr, err := Address(ports...)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return addr, writeFile(file, addr+"\n")
}

// free tells why one of the ports cannot be had.
func free(addr string, ports []int) error {
	for _, port := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Ports below those that the kernel gives to clients, so that no connection holds one by chance.
const (
	portFirst = 11_000
	portCount = 20_000
)

// Port gives a port that is free at all of these addresses, for servers that can have no address of their own.
func Port(addrs ...string) (int, error) {
	var err error
	for range addressTries {
		port := portFirst + rand.IntN(portCount)
		err = once(port)
		for _, addr := range addrs {
			err = cmp.Or(err, free(addr, []int{port}))
		}
		if err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no port of %v is free: %w", addrs, err)
}
