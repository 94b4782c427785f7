package netns

import (
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A cut drops what goes one way and leaves the other way alone; after the heal both pass again.
func TestCutIsOneWay(t *testing.T) {
	n, err := New()
	if err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
	t.Cleanup(n.Close)
	a, err := n.Host(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.Host(1, 2)
	if err != nil {
		t.Fatal(err)
	}
	heard := listen(t, n)
	for _, step := range []struct {
		name     string
		cut      [][2]*Host
		aHears   bool // a packet of b
		bHears   bool
		outsider bool // this test hears a
	}{
		{"nothing cut", nil, true, true, true},
		{"a to b", [][2]*Host{{a, b}}, true, false, true},
		{"b to a and a to the test", [][2]*Host{{b, a}, {a, n.Outside()}}, false, true, false},
		{"healed", nil, true, true, true},
	} {
		if err := n.Heal(); err != nil {
			t.Fatal(err)
		}
		for _, c := range step.cut {
			if err := n.Cut(c[0], c[1]); err != nil {
				t.Fatal(err)
			}
		}
		if got := hears(t, b, a, within(step.aHears)); got != step.aHears {
			t.Errorf("%s: a hears b: %v", step.name, got)
		}
		if got := hears(t, a, b, within(step.bHears)); got != step.bHears {
			t.Errorf("%s: b hears a: %v", step.name, got)
		}
		if got := heard(a, within(step.outsider)); got != step.outsider {
			t.Errorf("%s: the test hears a: %v", step.name, got)
		}
	}
}

// within gives how long to wait for a packet: what must come may take long on a machine that is busy, what must not is not waited for.
func within(comes bool) time.Duration {
	if comes {
		return time.Minute
	}
	return 300 * time.Millisecond
}

// shell runs a line on a host.
func shell(h *Host, line string) *exec.Cmd {
	args := h.Command("bash", "-c", line)
	return exec.Command(args[0], args[1:]...)
}

// hears says whether a UDP packet from one host reaches the other, as its packet counter tells.
func hears(t *testing.T, from, to *Host, within time.Duration) bool {
	t.Helper()
	const rule = "nft list chain ip nemesis probe"
	if err := to.nft("add chain ip nemesis probe { type filter hook input priority 10; }\nflush chain ip nemesis probe\nadd rule ip nemesis probe udp dport 9 counter"); err != nil {
		t.Fatal(err)
	}
	if err := shell(from, "echo x > /dev/udp/"+to.Addr+"/9").Run(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		said, err := shell(to, rule).Output()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(said), "packets 1 ") {
			return true
		}
	}
	return false
}

// listen gives a function that says whether a packet of a host reaches this test.
func listen(t *testing.T, n *Net) func(*Host, time.Duration) bool {
	conn, err := net.ListenPacket("udp", n.Outside().Addr+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // nothing to lose
	_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	return func(h *Host, within time.Duration) bool {
		_ = shell(h, "echo x > /dev/udp/"+n.Outside().Addr+"/"+port).Run() // a dropped packet is an error there
		_ = conn.SetReadDeadline(time.Now().Add(within))
		_, _, err := conn.ReadFrom(make([]byte, 16))
		return err == nil
	}
}
