package config

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Redis is a region's own, which no other region shares: cache, presence, limits and hints of its nodes. A node goes on without
// it. Files are read when a node starts; relative paths lie under security.secrets_dir.
type Redis struct {
	// Addresses are host:port of the server, or of some of a Redis Cluster's.
	Addresses []string `yaml:"addresses"`
	// User; default: Redis's default user, who has a password only.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// CAFile (PEM) switches TLS on; CertFile and KeyFile are the node's own certificate, where the server asks for one.
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName is the name in the servers' certificates; default: the host of each address.
	ServerName string `yaml:"server_name"`
	// Timeout bounds each call; default: 100ms.
	Timeout time.Duration `yaml:"timeout"`
	// CacheBytes bounds what each node keeps of the cache in its own memory; default: 16 MiB.
	CacheBytes int64 `yaml:"cache_bytes"`
	// QueueJobs bounds the jobs that wait in one queue; default: 100000.
	QueueJobs int `yaml:"queue_jobs"`
}

// The defaults of a Redis.
const (
	redisTimeout    = 100 * time.Millisecond
	redisCacheBytes = 16 * mib
	redisQueueJobs  = 100_000
)

// WithDefaults fills what the file leaves out.
func (r Redis) WithDefaults() Redis {
	fill(&r.Timeout, redisTimeout)
	fill(&r.CacheBytes, redisCacheBytes)
	fill(&r.QueueJobs, redisQueueJobs)
	return r
}

const redisAddressesMax = 32

func (v *validator) checkRedis(path string, r Region) {
	if r.Redis == nil {
		return
	}
	c, at := r.Redis.WithDefaults(), path+".redis"
	if len(c.Addresses) == 0 || len(c.Addresses) > redisAddressesMax {
		v.add(at+".addresses", "has %d addresses; allowed: 1 to %d", len(c.Addresses), redisAddressesMax)
	}
	for i, addr := range c.Addresses {
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" || strings.ContainsAny(host, " /") || !isPort(port) {
			v.add(fmt.Sprintf("%s.addresses[%d]", at, i), "%s is not host:port", quote(addr))
		}
		for _, other := range v.config.Regions {
			if other.Name < r.Name && other.Redis != nil && slices.Contains(other.Redis.Addresses, addr) {
				v.add(fmt.Sprintf("%s.addresses[%d]", at, i), "%s is the Redis of region %s too; each region has its own", quote(addr), quote(string(other.Name)))
			}
		}
	}
	if c.User != "" && c.PasswordFile == "" {
		v.add(at+".user", "needs password_file")
	}
	if n := count(c.CertFile, c.KeyFile); n == 1 || n == 2 && c.CAFile == "" {
		v.add(at+".cert_file", "cert_file and key_file go together, and with ca_file")
	}
	v.serverName(at, c.ServerName, c.CAFile)
	within(v, at+".timeout", c.Timeout, 5*time.Millisecond, 5*time.Second)
	within(v, at+".cache_bytes", c.CacheBytes, mib, 4<<30)
	within(v, at+".queue_jobs", c.QueueJobs, 100, 10_000_000)
}
