package config

import (
	"regexp"
	"strings"
)

// Events says where other systems of a region learn what happens in it. Each broker that is given gets all events. Files are
// read when a node starts; relative paths lie under security.secrets_dir.
type Events struct {
	Redis    *RedisStream `yaml:"redis,omitempty"`
	RabbitMQ *RabbitMQ    `yaml:"rabbitmq,omitempty"`
}

// RedisStream is a stream in a Redis, which should keep what it is given (appendonly).
type RedisStream struct {
	Address      string `yaml:"address"` // host:port
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	CAFile       string `yaml:"ca_file"`     // (PEM) signs the server's certificate; without it nothing is encrypted
	ServerName   string `yaml:"server_name"` // in that certificate; default: the host of address
	// Stream is the key; default: meridian.events. MaxLen is how many events it keeps; default: 1,000,000.
	Stream string `yaml:"stream"`
	MaxLen int64  `yaml:"max_len"`
}

// RabbitMQ is a broker, where the exchange and the quorum queue Name are made if they are not there.
type RabbitMQ struct {
	Address      string `yaml:"address"` // host:port
	VHost        string `yaml:"vhost"`   // default: /
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	CAFile       string `yaml:"ca_file"`     // (PEM) signs the server's certificate; without it nothing is encrypted
	ServerName   string `yaml:"server_name"` // in that certificate; default: the host of address
	Name         string `yaml:"name"`        // default: meridian.events
}

// The defaults of events.
const (
	eventsName   = "meridian.events"
	eventsMaxLen = 1_000_000
	rabbitVHost  = "/"
)

// WithDefaults fills what the file leaves out.
func (r RedisStream) WithDefaults() RedisStream {
	fill(&r.Stream, eventsName)
	fill(&r.MaxLen, eventsMaxLen)
	return r
}

// WithDefaults fills what the file leaves out.
func (r RabbitMQ) WithDefaults() RabbitMQ {
	fill(&r.Name, eventsName)
	fill(&r.VHost, rabbitVHost)
	return r
}

var brokerNamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,126}$`)

func (v *validator) checkEvents(path string, r Region) {
	if r.Events == nil {
		return
	}
	at := path + ".events"
	if r.Events.Redis == nil && r.Events.RabbitMQ == nil {
		v.add(at, "names no broker; give it redis or rabbitmq, or leave it out")
	}
	if s := r.Events.Redis; s != nil {
		d, at := s.WithDefaults(), at+".redis"
		v.server(at+".address", d.Address)
		v.brokerName(at+".stream", d.Stream)
		within(v, at+".max_len", d.MaxLen, 1000, 1_000_000_000)
		if d.User != "" {
			v.filled(at+".password_file", d.PasswordFile)
		}
		v.serverName(at, d.ServerName, d.CAFile)
	}
	if b := r.Events.RabbitMQ; b != nil {
		d, at := b.WithDefaults(), at+".rabbitmq"
		v.server(at+".address", d.Address)
		v.brokerName(at+".name", d.Name)
		v.filled(at+".user", d.User)
		v.serverName(at, d.ServerName, d.CAFile)
		v.filled(at+".password_file", d.PasswordFile)
		if len(d.VHost) > 128 || strings.ContainsAny(d.VHost, "\x00\n") {
			v.add(at+".vhost", "%s is not a virtual host; allowed: 1 to 128 characters", quote(d.VHost))
		}
	}
}

func (v *validator) brokerName(path, name string) {
	if !brokerNamePattern.MatchString(name) {
		v.add(path, "%s is not a name; allowed: 1 to 127 of letters, digits, ., _, : and -", quote(name))
	}
}
