package local

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// PostgresPort is where a PostgreSQL listens, on an address of its own.
const PostgresPort = 5432

// postgresUser is the superuser of a server; its password is in the file "password" of the server's directory.
const postgresUser = "meridian"

// postgresReady bounds a start: after a kill the server goes through its log first.
const postgresReady = 3 * time.Minute

// Postgres is a PostgreSQL server that writes to disk before it acknowledges, and speaks TLS only.
type Postgres struct {
	*Process
	Address  string // without the port
	Password string
	CAFile   string // who has signed its certificate
}

// NewPostgres gives the server that lives in dir, and makes its files if there are none; Start starts it. Settings are those
// of postgresql.conf. PostgreSQL refuses to be root: started by root it runs as the user postgres, or nobody, who must be able to
// enter dir.
func NewPostgres(ctx context.Context, dir string, progress Progress, settings ...string) (*Postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	as, err := unprivileged("postgres", "nobody")
	if err != nil {
		return nil, err
	}
	password, err := Secret(filepath.Join(dir, "password"))
	if err != nil {
		return nil, err
	}
	address, err := AddressFor(dir, PostgresPort)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	made := filepath.Join(dir, "made") // after initdb: one that is broken off leaves files too
	if _, err := os.Stat(made); err != nil {
		progress.say("postgres: making the files in %s", data)
		if err := initdb(ctx, bin, dir, data, as); err != nil {
			return nil, err
		}
		if err := writeFile(made, ""); err != nil {
			return nil, err
		}
	}
	secure, err := postgresTLS(dir, address, as)
	if err != nil {
		return nil, err
	}
	args := []string{"-D", data, "-h", address, "-p", strconv.Itoa(PostgresPort)}
	for _, s := range slices.Concat([]string{"unix_socket_directories=", "shared_buffers=16MB", "max_connections=100", "log_min_messages=warning"}, secure.settings, settings) {
		args = append(args, "-c", s)
	}
	ready := func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, filepath.Join(bin, "pg_isready"), "-h", address, "-p", strconv.Itoa(PostgresPort)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s", strings.TrimSpace(string(out)))
		}
		return nil
	}
	return &Postgres{
		Process: New(Spec{Name: "postgres", Dir: dir, Path: filepath.Join(bin, "postgres"), Args: args, User: as, Ready: ready, ReadyWithin: postgresReady, Progress: progress}),
		Address: address, Password: password, CAFile: secure.ca,
	}, nil
}

// postgresSecure is what a server needs to speak TLS.
type postgresSecure struct {
	settings []string
	ca       string
}

// postgresTLS makes a certificate for the server, which may read it, and a list of who may come: with the password, over TLS.
func postgresTLS(dir, address string, as *syscall.Credential) (postgresSecure, error) {
	c, access := certs{filepath.Join(dir, "certs")}, filepath.Join(dir, "pg_hba.conf")
	err := c.make("postgres", []string{address})
	if err == nil {
		err = writeFile(access, "hostssl all all all scram-sha-256\n")
	}
	for _, path := range []string{dir, c.dir, c.node(address), access} {
		if err == nil {
			err = own(path, as)
		}
	}
	return postgresSecure{ca: c.ca(), settings: []string{
		"ssl=on", "ssl_cert_file=" + c.node(address), "ssl_key_file=" + c.node(address), "hba_file=" + access,
	}}, err
}

// own gives a file to the user that a server runs as; nil: nobody else.
func own(path string, as *syscall.Credential) error {
	if as == nil {
		return nil
	}
	return os.Chown(path, int(as.Uid), int(as.Gid))
}

// URL is how a client reaches a database of the server; "postgres" is there from the start.
func (p *Postgres) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(postgresUser, p.Password), Host: fmt.Sprintf("%s:%d", p.Address, PostgresPort),
		Path: "/" + database, RawQuery: url.Values{"sslmode": {"verify-full"}, "sslrootcert": {p.CAFile}}.Encode(),
	}
	return u.String()
}

// initdb makes the files of a server whose every user needs the password.
func initdb(ctx context.Context, bin, dir, data string, as *syscall.Credential) error {
	if err := os.RemoveAll(data); err != nil { // of an initdb that was broken off
		return err
	}
	for _, path := range []string{dir, filepath.Join(dir, "password")} {
		if err := own(path, as); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", postgresUser, "--auth=scram-sha-256",
		"--pwfile="+filepath.Join(dir, "password"), "--encoding=UTF8", "--locale=C")
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w; can the user of PostgreSQL enter %s?\n%s", err, dir, out)
	}
	return nil
}

// postgresBin finds the newest server's programs.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		newest := slices.MaxFunc(found, func(a, b string) int { return major(a) - major(b) })
		return filepath.Dir(newest), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is not installed (Debian: postgresql): %w", err)
	}
	return filepath.Dir(path), nil
}

func major(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 for what is no number
	return n
}

// unprivileged gives the first of these users that there is, for a server that root must not run; nil for who is not root.
func unprivileged(names ...string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
		if uerr == nil && gerr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("none of the users %v is known here", names)
}
