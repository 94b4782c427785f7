package config

import (
	"path/filepath"
	"time"

	"meridian/chat"
)

// Sizes in bytes.
const (
	kib = 1 << 10
	mib = 1 << 20
)

const day = 24 * time.Hour

// Default gives the built-in deployment: three regions on one machine, as `meridian up` runs it. It is valid, and each call
// gives a value of its own. config/examples/three-regions.yaml says the same with comments.
func Default() *Config {
	return &Config{
		Name:      "local",
		DataDir:   "data",
		Regions:   defaultRegions(),
		Zones:     defaultZones(),
		HomeZones: HomeZones{Default: "world"},
		Router: Router{
			HTTP: "127.0.0.1:8080", DNS: "127.0.0.1:8053",
			Domain: "chat.meridian.test", TTL: 30 * time.Second, TTLDegraded: 10 * time.Second, AnswerRegions: 2, CanaryChangedShare: 0.02,
			Learned:    defaultLearned(),
			Health:     Health{Interval: time.Second, Timeout: time.Second, Down: 3, OK: 3, Up: 5},
			NameServer: defaultNameServer(),
			Route53:    defaultRoute53(),
		},
		Network:   Network{DelayScale: 1, TrustedProxies: []string{"127.0.0.0/8", "::1/128"}},
		Security:  defaultSecurity(),
		Limits:    defaultLimits(),
		Retention: Retention{ClientOutbox: 7 * day, OpLog: 14 * day, Retries: 31 * day, InboxLog: 31 * day},
		Timing:    defaultTiming(),
		Telemetry: Telemetry{LogLevel: "info", LogFormat: "text", Traces: "off"},
	}
}

func defaultRegions() []Region {
	return []Region{
		{
			Name: "us-east", City: "Ashburn", Country: "US", Latitude: 39.04, Longitude: -77.49, Point: "us-east-1",
			HTTP: "127.0.0.1:8101", Admin: "127.0.0.1:8201", Backbone: "127.0.0.1:8301",
			Addresses: []string{"127.1.0.1", "2001:db8:1::1"},
		},
		{
			Name: "eu-west", City: "Dublin", Country: "IE", Latitude: 53.35, Longitude: -6.26, Point: "eu-west-1",
			HTTP: "127.0.0.1:8102", Admin: "127.0.0.1:8202", Backbone: "127.0.0.1:8302",
			Addresses: []string{"127.1.0.2", "2001:db8:2::1"},
		},
		{
			Name: "ap-south", City: "Mumbai", Country: "IN", Latitude: 19.08, Longitude: 72.88, Point: "ap-south-1",
			HTTP: "127.0.0.1:8103", Admin: "127.0.0.1:8203", Backbone: "127.0.0.1:8303",
			Addresses: []string{"127.1.0.3", "2001:db8:3::1"},
		},
	}
}

func defaultZones() []Zone {
	return []Zone{
		{
			Name: "world", Regions: []chat.Region{"us-east", "eu-west", "ap-south"},
			Policy: chat.PolicyCopy, Transit: chat.TransitAllow, Ack: chat.AckRegion, AtSignUp: true,
		},
		{
			Name: "eu", Regions: []chat.Region{"eu-west"},
			Policy: chat.PolicyCopy, Transit: chat.TransitAllow, Ack: chat.AckRegion, AtSignUp: true,
		},
		{
			Name: "in", Regions: []chat.Region{"ap-south"},
			Policy: chat.PolicyDeny, Transit: chat.TransitDeny, Ack: chat.AckRegion, AtSignUp: true,
			Host: "in.chat.meridian.test",
		},
	}
}

func defaultSecurity() Security {
	sealed := true
	return Security{
		SecretsDir: "secrets", TokenTTL: 10 * time.Minute, RefreshTTL: 30 * day,
		// The second choice of the OWASP password cheat sheet; a log-in costs 19 MiB while it is checked.
		Argon2MemoryKiB: 19 * kib, Argon2Passes: 2, Argon2Threads: 1, Argon2Parallel: 2,
		SealBodies: &sealed,
	}
}

func defaultLimits() Limits {
	return Limits{
		FrameBytes: 64 * kib, TextBytes: 16 * kib, RequestBytes: 64 * kib,
		UsernameMaxChars: 32, PasswordMinChars: 8, PasswordMaxBytes: kib, DisplayNameMaxChars: 64,
		SocketsPerAddress: 1000, SocketsPerUser: 20, SendQueueBytes: mib,
		SendsPerSecond: 50, AuthPerMinute: 60, ResumeMaxEvents: 5000,
		AddressRequestsPerSecond: 500, UserReadsPerSecond: 50, UserWritesPerSecond: 20, LookupsPerSecond: 5,
		RelayWindowOps: 4096, RelayWindowBytes: 8 * mib, RelayTailOps: 8192, OutboxBytes: 16 << 30, InFlightOps: 8192,
		StoreReserveBytes: 256 * mib, StoreCacheBytes: 16 * mib, StoreMemTableBytes: 16 * mib,
		SessionsPerUser: 50, ContactsPerUser: 5000,
		GroupMembers: 5000, GroupsPerUser: 500, GroupNameBytes: 128, GroupReceiptMembers: 100, ReactionsPerUser: 20,
	}
}

func defaultTiming() Timing {
	return Timing{
		MaxDrift: 500 * time.Millisecond, Watermark: 200 * time.Millisecond, Resend: time.Second,
		HelloTimeout: 10 * time.Second, Heartbeat: 25 * time.Second, WriteTimeout: 10 * time.Second,
		RereadInbox: 15 * time.Second, DeliveredDelay: 100 * time.Millisecond, PresenceLease: time.Minute,
		ClaimTimeout: 5 * time.Second, LinkDead: 3 * time.Second, NodeLease: 2 * time.Second, AdoptWait: 1500 * time.Millisecond,
		ForwardAfter: 10 * time.Second,
	}
}

// BaseURL is the first of URLs.
func (r Region) BaseURL() string { return r.URLs()[0] }

// SecretsPath is the directory of the key files: SecretsDir, under DataDir unless it is absolute.
func (c *Config) SecretsPath() string {
	if filepath.IsAbs(c.Security.SecretsDir) {
		return c.Security.SecretsDir
	}
	return filepath.Join(c.DataDir, c.Security.SecretsDir)
}
