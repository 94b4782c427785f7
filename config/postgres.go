package config

import (
	"net"
	"regexp"
	"time"
)

// Postgres is a region's own PostgreSQL, which keeps its accounts and sessions. Files are read when a node starts; relative paths
// lie under security.secrets_dir.
type Postgres struct {
	// Address is host:port of the server.
	Address string `yaml:"address"`
	// Database and User; default: meridian. The user owns the tables: nodes bring them up to date when they start.
	Database     string `yaml:"database"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// CAFile (PEM) signs the server's certificate; without it nothing is encrypted.
	CAFile string `yaml:"ca_file"`
	// ServerName is the name in that certificate; default: the host of address.
	ServerName string `yaml:"server_name"`
	// Connections bounds those of one node; default: 8.
	Connections int `yaml:"connections"`
	// Timeout bounds one call; default: 3s.
	Timeout time.Duration `yaml:"timeout"`
}

// The defaults of a PostgreSQL.
const (
	postgresName        = "meridian"
	postgresConnections = 8
	postgresTimeout     = 3 * time.Second
)

// WithDefaults fills what the file leaves out.
func (p Postgres) WithDefaults() Postgres {
	fill(&p.Database, postgresName)
	fill(&p.User, postgresName)
	fill(&p.Connections, postgresConnections)
	fill(&p.Timeout, postgresTimeout)
	return p
}

var rolePattern = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,62}$`)

func (v *validator) checkPostgres(path string, r Region) {
	if r.Postgres == nil {
		return
	}
	p, at := r.Postgres.WithDefaults(), path+".postgres"
	v.server(at+".address", p.Address)
	for _, name := range [][2]string{{".database", p.Database}, {".user", p.User}} {
		if !rolePattern.MatchString(name[1]) {
			v.add(at+name[0], "%s is not a name of PostgreSQL; allowed: 1 to 63 of a-z, 0-9, _ and -, a letter or _ first", quote(name[1]))
		}
	}
	v.filled(at+".password_file", p.PasswordFile)
	v.serverName(at, p.ServerName, p.CAFile)
	within(v, at+".connections", p.Connections, 1, 1000)
	within(v, at+".timeout", p.Timeout, 100*time.Millisecond, 30*time.Second)
}

var hostPattern = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// serverName checks the name that a server's certificate must have; it means something only with an authority.
func (v *validator) serverName(at, name, ca string) {
	switch {
	case name == "":
	case ca == "":
		v.add(at+".server_name", "needs ca_file: without it nothing is encrypted, and no certificate looked at")
	case net.ParseIP(name) == nil && (len(name) > 253 || !hostPattern.MatchString(name)):
		v.add(at+".server_name", "%s is not a host name or an address", quote(name))
	}
}

// server checks where a server is that a node connects to.
func (v *validator) server(path, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || !isPort(port) {
		v.add(path, "%s is not host:port", quote(address))
	}
}
