package config

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"
)

// Cassandra is a region's own cluster, which no other region shares. Files are read when a node starts; relative paths lie under
// security.secrets_dir.
type Cassandra struct {
	// Hosts are nodes of the cluster, host or host:port (9042); the others are found by them.
	Hosts []string `yaml:"hosts"`
	// Datacenter is the cluster's name for the region; default: the region's name.
	Datacenter string `yaml:"datacenter"`
	// Keyspace; default: meridian.
	Keyspace string `yaml:"keyspace"`
	// Replicas is how many nodes keep each row, for `meridian schema apply`; default: 3.
	Replicas int `yaml:"replicas"`
	// User reads and writes rows, and changes no table.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// Owner changes tables, for `meridian schema`; default: User.
	Owner             string `yaml:"owner"`
	OwnerPasswordFile string `yaml:"owner_password_file"`
	// CAFile, CertFile and KeyFile (PEM): all or none; without them nothing is encrypted.
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// Connections to each node; default: 4.
	Connections int `yaml:"connections"`
	// Timeout bounds one request; default: 5s. SlowQuery is from when one is told as slow; default: 500ms.
	Timeout   time.Duration `yaml:"timeout"`
	SlowQuery time.Duration `yaml:"slow_query"`
	// SnapshotCommand is the program that `meridian backup` has the node run, with its arguments; KEYSPACE and DIR are appended. It makes DIR and
	// brings into it the files of a snapshot of every node of the cluster. Without it there is no backup.
	SnapshotCommand []string `yaml:"snapshot_command"`
	// ImportCommand is the program that `meridian restore` runs, in the same way: it brings the files in DIR into KEYSPACE, whose tables are there.
	ImportCommand []string `yaml:"import_command"`
}

// The defaults of a cluster.
const (
	cassandraKeyspace    = "meridian"
	cassandraReplicas    = 3
	cassandraConnections = 4
	cassandraTimeout     = 5 * time.Second
	cassandraSlowQuery   = 500 * time.Millisecond
)

// WithDefaults fills what the file leaves out, for a region of that name.
func (c Cassandra) WithDefaults(region string) Cassandra {
	fill(&c.Datacenter, region)
	fill(&c.Keyspace, cassandraKeyspace)
	fill(&c.Replicas, cassandraReplicas)
	fill(&c.Owner, c.User)
	fill(&c.OwnerPasswordFile, c.PasswordFile)
	fill(&c.Connections, cassandraConnections)
	fill(&c.Timeout, cassandraTimeout)
	fill(&c.SlowQuery, cassandraSlowQuery)
	return c
}

func fill[T comparable](field *T, value T) {
	var none T
	if *field == none {
		*field = value
	}
}

var (
	keyspacePattern   = regexp.MustCompile(`^[a-z][a-z0-9_]{0,47}$`)
	datacenterPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,48}$`)
)

const cassandraHostsMax = 32

func (v *validator) checkCassandra(path string, r Region) {
	if r.Cassandra == nil {
		return
	}
	c, at := r.Cassandra.WithDefaults(string(r.Name)), path+".cassandra"
	if r.Store != "" {
		v.add(at, "stands beside store; a region has one of them")
	}
	if len(c.Hosts) == 0 || len(c.Hosts) > cassandraHostsMax {
		v.add(at+".hosts", "has %d nodes; allowed: 1 to %d", len(c.Hosts), cassandraHostsMax)
	}
	for i, host := range c.Hosts {
		name, port := host, "9042"
		if h, p, err := net.SplitHostPort(host); err == nil {
			name, port = h, p
		}
		if name == "" || strings.ContainsAny(name, " /") || !isPort(port) {
			v.add(fmt.Sprintf("%s.hosts[%d]", at, i), "%s is not a host or host:port", quote(host))
		}
	}
	if !keyspacePattern.MatchString(c.Keyspace) {
		v.add(at+".keyspace", "%s is not a keyspace; allowed: 1 to 48 of a-z, 0-9 and _, a letter first", quote(c.Keyspace))
	}
	if !datacenterPattern.MatchString(c.Datacenter) {
		v.add(at+".datacenter", "%s is not a data centre; allowed: 1 to 48 of letters, digits, _ and -", quote(c.Datacenter))
	}
	within(v, at+".replicas", c.Replicas, 1, 9)
	within(v, at+".connections", c.Connections, 1, 64)
	within(v, at+".timeout", c.Timeout, 100*time.Millisecond, time.Minute)
	within(v, at+".slow_query", c.SlowQuery, time.Millisecond, time.Minute)
	if (c.User == "") != (c.PasswordFile == "") {
		v.add(at+".user", "needs password_file, and the other way round")
	}
	if n := count(c.CAFile, c.CertFile, c.KeyFile); n != 0 && n != 3 {
		v.add(at+".ca_file", "ca_file, cert_file and key_file go together; %d of them are given", n)
	}
	v.checkCommand(at+".snapshot_command", c.SnapshotCommand)
	v.checkCommand(at+".import_command", c.ImportCommand)
}

// commandWordsMax bounds a program with its arguments.
const commandWordsMax = 32

func (v *validator) checkCommand(at string, words []string) {
	if len(words) == 0 {
		return
	}
	if len(words) > commandWordsMax {
		v.add(at, "has %d words; allowed: at most %d", len(words), commandWordsMax)
	}
	if program := words[0]; program == "" || strings.Contains(program, "/") && !strings.HasPrefix(program, "/") {
		v.add(at+"[0]", "%s is not a program; write an absolute path, or a name that is looked for in PATH", quote(program))
	}
}

// count says how many of the words are given.
func count(words ...string) (n int) {
	for _, w := range words {
		if w != "" {
			n++
		}
	}
	return n
}

func isPort(p string) bool {
	_, err := net.LookupPort("tcp", p)
	return err == nil && p != "0" && strings.Trim(p, "0123456789") == ""
}
