// Package netns makes a small network of its own on this machine: hosts in network namespaces on one bridge, whose packets to
// each other can be dropped, in one direction or in both, from outside of the processes that run there. The test itself sits
// on the bridge too, as the place where people are. It needs root, iproute2 and nftables.
package netns

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
)

// Net is one bridge with its hosts. Its methods are for one goroutine at a time.
type Net struct {
	id     string // part of every name, so that two runs do not meet
	bridge string
	prefix string // the first two numbers of every address
	hosts  []*Host
}

// made counts the networks of this process.
var made atomic.Int32

// Host is a network namespace.
type Host struct {
	// Addr is the host's address. Outside is the test's, which has no namespace.
	Addr string
	ns   string
}

// New makes the network. An error says what this machine does not allow; nothing is left behind then.
func New() (*Net, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("network namespaces need root")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing (scripts/deps.sh installs it)", tool)
		}
	}
	// The kernel takes a namespace's interfaces away a while after it: the next network of this process has other names.
	n := &Net{id: fmt.Sprintf("%d%c", os.Getpid()%100_000, 'a'+made.Add(1)%26)}
	n.bridge, n.prefix = "mnb"+n.id, fmt.Sprintf("10.%d", 100+os.Getpid()%100)
	for _, args := range []string{"link add " + n.bridge + " type bridge", "addr add " + n.Outside().Addr + "/16 dev " + n.bridge, "link set " + n.bridge + " up"} {
		if err := ip(strings.Fields(args)...); err != nil {
			n.Close()
			return nil, err
		}
	}
	return n, nil
}

// Outside is where the test's own sockets are.
func (n *Net) Outside() *Host { return &Host{Addr: n.prefix + ".0.1"} }

// CIDR holds every address of the network.
func (n *Net) CIDR() string { return n.prefix + ".0.0/16" }

// Host adds a host. Its numbers make the address.
func (n *Net) Host(third, fourth int) (*Host, error) {
	h := &Host{Addr: fmt.Sprintf("%s.%d.%d", n.prefix, third, fourth), ns: fmt.Sprintf("mn%s-%d-%d", n.id, third, fourth)}
	inside, outside := fmt.Sprintf("mv%sa%d-%d", n.id, third, fourth), fmt.Sprintf("mv%sb%d-%d", n.id, third, fourth)
	for _, args := range []string{
		"netns add " + h.ns,
		"link add " + inside + " type veth peer name " + outside,
		"link set " + inside + " netns " + h.ns,
		"link set " + outside + " master " + n.bridge + " up",
		"-n " + h.ns + " addr add " + h.Addr + "/16 dev " + inside,
		"-n " + h.ns + " link set " + inside + " up",
		"-n " + h.ns + " link set lo up",
	} {
		if err := ip(strings.Fields(args)...); err != nil {
			return nil, err
		}
	}
	n.hosts = append(n.hosts, h)
	return h, h.nft(`table ip nemesis {
  set from { type ipv4_addr; }
  set to { type ipv4_addr; }
  chain input { type filter hook input priority 0; ip saddr @from drop; }
  chain output { type filter hook output priority 0; ip daddr @to drop; }
}`)
}

// Command gives the arguments that run a program on the host.
func (h *Host) Command(program string, args ...string) []string {
	if h.ns == "" {
		return append([]string{program}, args...)
	}
	return append([]string{"ip", "netns", "exec", h.ns, program}, args...)
}

// Cut drops every packet from one host to another, until Heal.
func (n *Net) Cut(from, to *Host) error {
	if to.ns != "" {
		return to.nft("add element ip nemesis from { " + from.Addr + " }")
	}
	return from.nft("add element ip nemesis to { " + to.Addr + " }")
}

// Heal lets every packet pass again.
func (n *Net) Heal() error {
	var failed error
	for _, h := range n.hosts {
		if err := h.nft("flush set ip nemesis from\nflush set ip nemesis to"); err != nil {
			failed = err
		}
	}
	return failed
}

// Close takes the network down; processes that still run on its hosts lose it.
func (n *Net) Close() {
	for _, h := range slices.Backward(n.hosts) {
		_ = ip("netns", "del", h.ns) // with it goes the pair of interfaces
	}
	_ = ip("link", "del", n.bridge) // after a failed New it may not be there
}

func (h *Host) nft(script string) error {
	cmd := exec.Command("ip", "netns", "exec", h.ns, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	return output(cmd)
}

func ip(args ...string) error { return output(exec.Command("ip", args...)) }

func output(cmd *exec.Cmd) error {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}
