package local

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// RedisPort is that of every Redis, as in production: servers differ by their addresses.
const RedisPort = 6379

// RedisOptions says what a Redis is like. Dir is required.
type RedisOptions struct {
	Dir string // holds everything of the server; its address stays, see AddressFor
	// AppendOnly keeps what is written on the disk, synced each second; otherwise a restart begins empty.
	AppendOnly bool
	// Synced keeps what is written on the disk before it is answered, as a stream of events needs.
	Synced   bool
	Detached bool // see Spec
	Progress Progress
}

// Redis is one server with a password that speaks TLS only, on this machine.
type Redis struct {
	*Process

	o       RedisOptions
	address string
	certs   certs
}

// RedisAccess is what a client needs to use a Redis.
type RedisAccess struct {
	Address      string `json:"address"` // host:port
	PasswordFile string `json:"password_file"`
	CAFile       string `json:"ca_file"`
}

// Password reads the password.
func (a RedisAccess) Password() (string, error) {
	return Login{PasswordFile: a.PasswordFile}.Password()
}

// TLS gives how a client makes sure of the server.
func (a RedisAccess) TLS() (*tls.Config, error) { return Trust(a.CAFile) }

// Dial opens a connection that speaks Redis's own protocol, and is not logged in.
func (a RedisAccess) Dial(ctx context.Context) (net.Conn, error) {
	secure, err := a.TLS()
	if err != nil {
		return nil, err
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: connectWithin}, Config: secure}
	return d.DialContext(ctx, "tcp", a.Address)
}

// NewRedis prepares a server: its address, password and configuration. It starts nothing; one that runs already in Dir is taken
// for it.
func NewRedis(o RedisOptions) (*Redis, error) {
	if o.Dir == "" {
		return nil, errors.New("redis: options without a directory")
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, fmt.Errorf("redis-server is missing (run scripts/deps.sh; Debian: apt-get install redis-server): %w", err)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	r := &Redis{o: o, certs: certs{filepath.Join(dir, "certs")}}
	if r.address, err = AddressFor(dir, RedisPort); err != nil {
		return nil, err
	}
	if err := r.certs.make("redis", []string{r.address}); err != nil {
		return nil, err
	}
	password, err := Secret(r.passwordFile())
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "redis.conf")
	if err := writeFile(conf, r.configuration(password)); err != nil {
		return nil, err
	}
	r.Process = New(Spec{
		Name: "redis", Dir: dir, Path: "redis-server", Args: []string{conf}, Ready: r.ready, Progress: o.Progress, Detached: o.Detached,
	})
	return r, nil
}

func (r *Redis) passwordFile() string { return filepath.Join(r.o.Dir, "password") }

// configuration: when memory is short what has a time to live goes, and nothing else.
func (r *Redis) configuration(password string) string {
	appendOnly, sync := "no", "everysec"
	if r.o.AppendOnly || r.o.Synced {
		appendOnly = "yes"
	}
	if r.o.Synced {
		sync = "always"
	}
	return strings.Join([]string{
		"bind " + r.address,
		"port 0",
		"tls-port " + strconv.Itoa(RedisPort),
		"tls-cert-file " + strconv.Quote(r.certs.node(r.address)),
		"tls-key-file " + strconv.Quote(r.certs.node(r.address)),
		"tls-ca-cert-file " + strconv.Quote(r.certs.ca()),
		"tls-auth-clients no",
		"protected-mode yes",
		"requirepass " + password,
		"daemonize no",
		"dir " + strconv.Quote(r.o.Dir),
		`save ""`,
		"appendonly " + appendOnly,
		"appendfsync " + sync,
		"maxmemory 256mb",
		"maxmemory-policy volatile-lru",
	}, "\n") + "\n"
}

// Access gives what clients need; it holds as long as the server's directory.
func (r *Redis) Access() RedisAccess {
	return RedisAccess{Address: net.JoinHostPort(r.address, strconv.Itoa(RedisPort)), PasswordFile: r.passwordFile(), CAFile: r.certs.ca()}
}

// Flush drops everything that the server keeps.
func (r *Redis) Flush(ctx context.Context) error { return r.ask(ctx, "FLUSHALL", "+OK") }

func (r *Redis) ready(ctx context.Context) error { return r.ask(ctx, "PING", "+PONG") }

// ask logs in, sends one command without arguments and compares the answer's first line.
func (r *Redis) ask(ctx context.Context, command, want string) error {
	a := r.Access()
	password, err := a.Password()
	if err != nil {
		return err
	}
	conn, err := a.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\n%s\r\n", password, command); err != nil {
		return err
	}
	answers := bufio.NewReader(conn)
	for _, want := range []string{"+OK", want} {
		got, err := answers.ReadString('\n')
		if err != nil {
			return err
		}
		if got = strings.TrimSpace(got); got != want {
			return fmt.Errorf("redis %s answers %q", a.Address, got)
		}
	}
	return nil
}
