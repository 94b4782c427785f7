package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RabbitMQPort is where a RabbitMQ listens for TLS, on an address of its own.
const RabbitMQPort = 5671

// rabbitMQUser may do everything; its password is in the file "password" of the server's directory.
const rabbitMQUser = "meridian"

// rabbitMQStopWithin bounds an end in good order: it writes down then which queues there are, and after a kill may not find their leaders.
const rabbitMQStopWithin = 2 * time.Minute

// RabbitMQ is a broker of one node that speaks TLS only, with its data in a directory of its own. The name service that Erlang's nodes need runs
// beside it, on a port of its own, so that it meets no other.
type RabbitMQ struct {
	*Process
	names    *Process
	Address  string // without the port
	Password string
	CAFile   string // who has signed its certificate
}

// NewRabbitMQ gives the broker that lives in dir, and makes its configuration; Start starts it.
func NewRabbitMQ(dir string, progress Progress) (*RabbitMQ, error) {
	program, err := rabbitMQProgram()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	address, err := AddressFor(dir, RabbitMQPort)
	if err != nil {
		return nil, err
	}
	password, err := Secret(filepath.Join(dir, "password"))
	if err != nil {
		return nil, err
	}
	namesPort, err := Port(address, "127.0.0.1") // epmd listens there as well, whatever it is told
	if err != nil {
		return nil, err
	}
	distPort, err := Port(address)
	if err != nil {
		return nil, err
	}
	secure := certs{filepath.Join(dir, "certs")}
	if err := secure.make("rabbitmq", []string{address}); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "rabbitmq.conf")
	lines := []string{
		"listeners.tcp = none", fmt.Sprintf("listeners.ssl.1 = %s:%d", address, RabbitMQPort), "ssl_options.cacertfile = " + secure.ca(),
		"ssl_options.certfile = " + secure.node(address), "ssl_options.keyfile = " + secure.node(address), "ssl_options.verify = verify_none",
		"ssl_options.fail_if_no_peer_cert = false", "default_user = " + rabbitMQUser, "default_pass = " + password,
		"disk_free_limit.absolute = 100MB", "log.file = false", "log.console = true", "log.console.level = warning",
	}
	if err := writeFile(config, strings.Join(lines, "\n")+"\n"); err != nil {
		return nil, err
	}
	plugins := filepath.Join(dir, "enabled_plugins")
	if err := writeFile(plugins, "[].\n"); err != nil {
		return nil, err
	}
	env := []string{
		"HOME=" + dir, // the cookie of Erlang's nodes
		"ERL_EPMD_ADDRESS=" + address, "ERL_EPMD_PORT=" + strconv.Itoa(namesPort),
		"RABBITMQ_NODENAME=meridian@localhost", "RABBITMQ_DIST_PORT=" + strconv.Itoa(distPort),
		"RABBITMQ_CONFIG_FILE=" + config, "RABBITMQ_ENABLED_PLUGINS_FILE=" + plugins, "RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "data"),
		"RABBITMQ_LOG_BASE=" + dir, "RABBITMQ_PID_FILE=" + filepath.Join(dir, "erlang.pid"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 1:1 +A 16 -kernel inet_dist_use_interface {" + strings.ReplaceAll(address, ".", ",") + "}",
	}
	r := &RabbitMQ{Address: address, Password: password, CAFile: secure.ca()}
	r.names = New(Spec{
		Name: "epmd", Dir: dir, Path: "epmd", Args: []string{"-address", address, "-port", strconv.Itoa(namesPort)}, Env: env, Progress: progress,
		Ready: func(ctx context.Context) error {
			return reachable(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(namesPort)))
		},
	})
	r.Process = New(Spec{
		Name: "rabbitmq", Dir: dir, Path: program, Env: env, Progress: progress, StopWithin: rabbitMQStopWithin,
		Ready: func(ctx context.Context) error { return reachable(ctx, r.hostPort()) },
	})
	return r, nil
}

func (r *RabbitMQ) hostPort() string { return net.JoinHostPort(r.Address, strconv.Itoa(RabbitMQPort)) }

// URL is how a client reaches the broker.
func (r *RabbitMQ) URL() string {
	u := url.URL{Scheme: "amqps", User: url.UserPassword(rabbitMQUser, r.Password), Host: r.hostPort(), Path: "/"}
	return u.String()
}

// Start starts the name service and the broker.
func (r *RabbitMQ) Start(ctx context.Context) error {
	if err := r.names.Start(ctx); err != nil {
		return err
	}
	return r.Process.Start(ctx)
}

// Stop ends both in good order.
func (r *RabbitMQ) Stop() error { return errors.Join(r.Process.Stop(), r.names.Stop()) }

// Kill ends both by SIGKILL.
func (r *RabbitMQ) Kill() error { return errors.Join(r.Process.Kill(), r.names.Kill()) }

// Restart is Stop and Start.
func (r *RabbitMQ) Restart(ctx context.Context) error {
	if err := r.Stop(); err != nil {
		return err
	}
	return r.Start(ctx)
}

// reachable says why nobody takes connections at an address.
func reachable(ctx context.Context, address string) error {
	d := net.Dialer{Timeout: connectWithin}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// rabbitMQProgram finds the server's own script: Debian's wrapper changes the user and the directory.
func rabbitMQProgram() (string, error) {
	if _, err := exec.LookPath("epmd"); err != nil {
		return "", fmt.Errorf("RabbitMQ is not installed (run scripts/deps.sh; Debian: rabbitmq-server): %w", err)
	}
	found, err := filepath.Glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("RabbitMQ is not installed (run scripts/deps.sh; Debian: rabbitmq-server): %w", os.ErrNotExist)
	}
	return slices.Max(found), nil
}
