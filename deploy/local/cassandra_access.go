package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gocql/gocql"
	"golang.org/x/crypto/bcrypt"
)

// CassandraAccess is what a client needs to use a cluster. Logins and TLS are nil where the cluster is open.
type CassandraAccess struct {
	ClusterName string   `json:"cluster_name"`
	Datacenter  string   `json:"datacenter"`
	Hosts       []string `json:"hosts"` // address:port of each node
	Keyspace    string   `json:"keyspace"`
	// Replication is the factor that fits the cluster: how many nodes it has.
	Replication int `json:"replication"`
	// Admin is our superuser: for roles only. Owner makes and alters keyspaces and tables, and grants rights on them. App reads
	// and writes rows.
	Admin *Login    `json:"admin,omitempty"`
	Owner *Login    `json:"owner,omitempty"`
	App   *Login    `json:"app,omitempty"`
	TLS   *TLSFiles `json:"tls,omitempty"`
}

// Login is a role and the file of its password.
type Login struct {
	User         string `json:"user"`
	PasswordFile string `json:"password_file"`
}

// Password reads the password.
func (l Login) Password() (string, error) {
	b, err := os.ReadFile(l.PasswordFile)
	return strings.TrimSpace(string(b)), err
}

// TLSFiles are PEM files: the cluster's authority, and the certificate and key of a client.
type TLSFiles struct {
	CA   string `json:"ca"`
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// Access gives what clients need; it holds as long as the cluster's directory.
func (c *Cassandra) Access() CassandraAccess {
	a := CassandraAccess{
		ClusterName: c.o.ClusterName, Datacenter: c.o.Datacenter, Keyspace: c.o.Keyspaces[0], Replication: c.o.Nodes,
	}
	for _, n := range c.nodes {
		a.Hosts = append(a.Hosts, net.JoinHostPort(n.Address, strconv.Itoa(NativePort)))
	}
	if !c.o.Open {
		login := func(role string) *Login {
			return &Login{User: "meridian_" + role, PasswordFile: filepath.Join(c.o.Dir, "secrets", role)}
		}
		a.Admin, a.Owner, a.App = login("admin"), login("owner"), login("app")
		a.TLS = &TLSFiles{CA: c.certs.ca(), Cert: c.certs.client(), Key: c.certs.clientKey()}
	}
	return a
}

// What is asked of a server that runs; on a busy machine a Java that has just started takes seconds for a log-in.
const (
	connectWithin = 15 * time.Second
	answerWithin  = 15 * time.Second
)

// Config gives a gocql configuration that logs in as login (nil: an open cluster) at the cluster's own hosts: for set-up and
// for tests that look inside. What serves people has its own, with consistencies and retries.
func (a CassandraAccess) Config(login *Login) (*gocql.ClusterConfig, error) {
	cfg := gocql.NewCluster(a.Hosts...)
	cfg.ProtoVersion = 4
	cfg.ConnectTimeout, cfg.Timeout = connectWithin, answerWithin
	cfg.Consistency, cfg.SerialConsistency = gocql.LocalQuorum, gocql.LocalSerial
	cfg.NumConns, cfg.DefaultTimestamp = 1, false
	cfg.Logger = silent{} // errors come as values
	if a.TLS != nil {
		cfg.SslOpts = &gocql.SslOptions{CaPath: a.TLS.CA, CertPath: a.TLS.Cert, KeyPath: a.TLS.Key, EnableHostVerification: true}
	}
	if login != nil {
		password, err := login.Password()
		if err != nil {
			return nil, err
		}
		cfg.Authenticator = gocql.PasswordAuthenticator{Username: login.User, Password: password}
	}
	return cfg, nil
}

// silent drops what gocql would print: errors come as values.
type silent struct{}

func (silent) Print(...any)          {}
func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// The role that every new cluster has.
const defaultRole = "cassandra"

// at narrows cfg to one node, without a look at the others.
func (n *CassandraNode) at(cfg *gocql.ClusterConfig) *gocql.ClusterConfig {
	cfg.Hosts = []string{net.JoinHostPort(n.Address, strconv.Itoa(NativePort))}
	cfg.DisableInitialHostLookup = true
	cfg.Events.DisableNodeStatusEvents, cfg.Events.DisableTopologyEvents, cfg.Events.DisableSchemaEvents = true, true, true
	return cfg
}

// ready says whether the node lets us log in and is of our cluster.
func (n *CassandraNode) ready(ctx context.Context) error {
	d := net.Dialer{Timeout: connectWithin}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(n.Address, strconv.Itoa(NativePort)))
	if err != nil {
		return errors.New("nobody listens yet")
	}
	_ = conn.Close()
	a := n.cluster.Access()
	cfg, err := a.Config(nil)
	if !n.cluster.o.Open {
		if n.cluster.state.SetUp {
			cfg, err = a.Config(a.Admin)
		} else {
			cfg.Authenticator = gocql.PasswordAuthenticator{Username: defaultRole, Password: defaultRole}
		}
	}
	if err != nil {
		return err
	}
	return with(n.at(cfg), func(s *gocql.Session) error {
		var name string
		if err := s.Query("SELECT cluster_name FROM system.local").WithContext(ctx).Scan(&name); err != nil {
			return err
		}
		if name != n.cluster.o.ClusterName {
			return fmt.Errorf("%s is a node of %q, not of %q", n.Address, name, n.cluster.o.ClusterName)
		}
		return nil
	})
}

// with does something with a session of its own.
func with(cfg *gocql.ClusterConfig, do func(*gocql.Session) error) error {
	s, err := cfg.CreateSession()
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s)
}

// setUp makes the roles and the keyspaces of a new cluster, and takes the default role's rights away.
func (c *Cassandra) setUp(ctx context.Context) error {
	a := c.Access()
	cfg, err := a.Config(nil)
	if err != nil {
		return err
	}
	if c.o.Open {
		return execute(ctx, c.nodes[0].at(cfg), c.createKeyspaces())
	}
	cfg.Authenticator = gocql.PasswordAuthenticator{Username: defaultRole, Password: defaultRole}
	admin, err := createRole(a.Admin, true)
	if err != nil {
		return err
	}
	if err := execute(ctx, c.nodes[0].at(cfg), []string{admin}); err != nil {
		return err
	}
	if cfg, err = a.Config(a.Admin); err != nil {
		return err
	}
	statements, err := c.createRoles(a)
	if err != nil {
		return err
	}
	return execute(ctx, c.nodes[0].at(cfg), statements)
}

func (c *Cassandra) createRoles(a CassandraAccess) ([]string, error) {
	owner, err1 := createRole(a.Owner, false)
	app, err2 := createRole(a.App, false)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	list := append([]string{owner, app}, c.createKeyspaces()...)
	list = append(list, "GRANT CREATE ON ALL KEYSPACES TO "+a.Owner.User)
	for _, l := range []*Login{a.Owner, a.App} { // at their start nodes look how the commit log is synced
		list = append(list, "GRANT SELECT ON system_views.settings TO "+l.User)
	}
	for _, ks := range c.o.Keyspaces {
		list = append(list, c.grants(ks)...)
	}
	return append(list, "ALTER ROLE "+defaultRole+" WITH SUPERUSER = false AND LOGIN = false"), nil
}

func (c *Cassandra) createKeyspaces() []string {
	var list []string
	for _, ks := range c.o.Keyspaces {
		list = append(list, fmt.Sprintf("CREATE KEYSPACE IF NOT EXISTS %q WITH replication = {'class': 'NetworkTopologyStrategy', '%s': %d}",
			ks, c.o.Datacenter, c.o.Nodes))
	}
	return list
}

// grants gives the owner all rights on a keyspace and the app those on rows.
func (c *Cassandra) grants(keyspace string) []string {
	a := c.Access()
	if a.App == nil {
		return nil
	}
	return []string{
		fmt.Sprintf("GRANT ALL ON KEYSPACE %q TO %s", keyspace, a.Owner.User),
		fmt.Sprintf("GRANT SELECT ON KEYSPACE %q TO %s", keyspace, a.App.User),
		fmt.Sprintf("GRANT MODIFY ON KEYSPACE %q TO %s", keyspace, a.App.User),
	}
}

// createRole gives the statement that makes a role. It holds a hash: statements end up in the commit log. The password has 128
// random bits, so that the cheapest hash is as good as any and a log-in costs the server nothing.
func createRole(l *Login, superuser bool) (string, error) {
	password, err := Secret(l.PasswordFile)
	if err != nil {
		return "", err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("CREATE ROLE IF NOT EXISTS %s WITH HASHED PASSWORD = '%s' AND LOGIN = true AND SUPERUSER = %v", l.User, hash, superuser), nil
}

const (
	setUpWithin = 3 * time.Minute // one log-in or statement, on a busy machine
	setUpAgain  = 100 * time.Millisecond
)

// execute runs statements that may run twice, in order.
func execute(ctx context.Context, cfg *gocql.ClusterConfig, statements []string) error {
	var s *gocql.Session
	err := patiently(ctx, setUpWithin, func(context.Context) (err error) {
		s, err = cfg.CreateSession()
		return err
	})
	if err != nil {
		return err
	}
	defer s.Close()
	for _, statement := range statements {
		if err := patiently(ctx, setUpWithin, func(ctx context.Context) error { return s.Query(statement).WithContext(ctx).Exec() }); err != nil {
			return fmt.Errorf("%.60s…: %w", statement, err)
		}
	}
	return nil
}

// patiently does something until it succeeds, for a while: in the first moments of a cluster what manages the roles starts after the port is
// open, and nodes have yet to hear of each other; a busy one does not answer in time.
func patiently(ctx context.Context, within time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(setUpAgain):
		}
	}
}

// CreateKeyspace makes one more keyspace with the rights on it, unless it is there.
func (c *Cassandra) CreateKeyspace(ctx context.Context, name string) error {
	a := c.Access()
	cfg, err := a.Config(a.Admin)
	if err != nil {
		return err
	}
	create := fmt.Sprintf("CREATE KEYSPACE IF NOT EXISTS %q WITH replication = {'class': 'NetworkTopologyStrategy', '%s': %d}", name, c.o.Datacenter, c.o.Nodes)
	return execute(ctx, c.nodes[0].at(cfg), append([]string{create}, c.grants(name)...))
}
