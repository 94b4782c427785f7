// Package config is the one typed configuration of a whole deployment: regions, zones, policies, router, limits. Every
// limit has its unit last in its name. Load fills the defaults and refuses what makes no sense, naming the key, the value
// and what is allowed.
package config

import (
	"slices"
	"time"

	"meridian/chat"
)

// Config is one deployment; every node and router of it reads the same file.
type Config struct {
	// Name of the deployment; part of certificates and tokens.
	Name      string    `yaml:"name"`
	DataDir   string    `yaml:"data_dir"`
	Regions   []Region  `yaml:"regions"`
	Zones     []Zone    `yaml:"zones"`
	HomeZones HomeZones `yaml:"home_zones"`
	Router    Router    `yaml:"router"`
	Network   Network   `yaml:"network"`
	Security  Security  `yaml:"security"`
	Limits    Limits    `yaml:"limits"`
	Retention Retention `yaml:"retention"`
	Timing    Timing    `yaml:"timing"`
	Telemetry Telemetry `yaml:"telemetry"`
}

// Region is one region and where it listens.
type Region struct {
	Name      chat.Region `yaml:"name"`
	City      string      `yaml:"city"`
	Country   string      `yaml:"country"` // ISO 3166-1 alpha-2
	Latitude  float64     `yaml:"latitude"`
	Longitude float64     `yaml:"longitude"`
	// Point names the network point (a row of the round-trip table) that stands for the region; default: the nearest one.
	Point string `yaml:"point"`
	// URL is what clients use; default: the URLs of the nodes, http://<http> where there is one.
	URL string `yaml:"url"`
	// HTTP, Admin and Backbone are listen addresses, host:port; port 0 takes a free one (local `up` only). A region with Nodes
	// has none.
	HTTP     string `yaml:"http"`
	Admin    string `yaml:"admin"`
	Backbone string `yaml:"backbone"`
	// Store is where the region's store listens for its nodes, a process of its own (`meridian store`); empty: it lives in the
	// one node's process.
	Store string `yaml:"store"`
	// Cassandra, if given, keeps the region's rows instead.
	Cassandra *Cassandra `yaml:"cassandra,omitempty"`
	// Postgres, if given, keeps accounts and sessions, apart from the other rows.
	Postgres *Postgres `yaml:"postgres,omitempty"`
	// Redis, if given, is what the region's nodes share beside the store.
	Redis *Redis `yaml:"redis,omitempty"`
	// Events, if given, tells other systems what happens in the region.
	Events *Events `yaml:"events,omitempty"`
	// Objects, if given, keeps files.
	Objects *Objects `yaml:"objects,omitempty"`
	// Nodes are the region's processes; empty: one, named OnlyNode, at the addresses above.
	Nodes []Node `yaml:"nodes"`
	// Addresses are what GeoDNS answers for this region; default: the hosts of HTTP, or of the nodes', that are addresses.
	Addresses []string `yaml:"addresses"`
	// CapacitySockets is what the region is built for; the router sheds load above it. 0: not limited.
	CapacitySockets int `yaml:"capacity_sockets"`
}

// Zone is a residency zone.
type Zone struct {
	Name     chat.Zone       `yaml:"name"`
	Regions  []chat.Region   `yaml:"regions"`
	Policy   chat.CopyPolicy `yaml:"policy"`
	Transit  chat.Transit    `yaml:"transit"`
	Ack      chat.AckLevel   `yaml:"ack"`
	AtSignUp bool            `yaml:"at_sign_up"`
	// Host is the zone's own host name in GeoDNS; required with transit: deny when the router serves DNS.
	Host string `yaml:"host"`
}

// HomeZones says which zone a person gets at sign-up who does not choose one.
type HomeZones struct {
	Default   chat.Zone            `yaml:"default"`
	Countries map[string]chat.Zone `yaml:"countries"` // ISO country → zone
}

// Router configures the geo router.
type Router struct {
	HTTP string `yaml:"http"`
	// URL is where clients and verbs reach the router over HTTP; default: http://<http>.
	URL string `yaml:"url"`
	DNS string `yaml:"dns"`
	// Domain is the name that GeoDNS serves, e.g. "chat.example.org".
	Domain string        `yaml:"domain"`
	TTL    time.Duration `yaml:"ttl"`
	// TTLDegraded is the TTL of a name while a region that it may answer is down or draining; TTL where that is shorter.
	TTLDegraded time.Duration `yaml:"ttl_degraded"`
	// AnswerRegions is how many regions an A/AAAA answer holds.
	AnswerRegions int `yaml:"answer_regions"`
	// GeoFiles are MMDB files (MaxMind or DB-IP, country or city, nested or flat); empty: the embedded country table.
	GeoFiles []string `yaml:"geo_files"`
	// ASNFiles are MMDB files of autonomous systems; they tell explain whose network an address is in.
	ASNFiles []string `yaml:"asn_files"`
	// GeoMaxAge is how old GeoFiles and ASNFiles may be when they are loaded; 0: any age.
	GeoMaxAge time.Duration `yaml:"geo_max_age"`
	// Canaries are addresses that are watched, beside a built-in list, when an address file changes: where more than
	// CanaryChangedShare of either list would be placed elsewhere, the old data stays.
	Canaries           []string `yaml:"canaries"`
	CanaryChangedShare float64  `yaml:"canary_changed_share"`
	// BiasMs is added to a region's score; a negative value draws people in.
	BiasMs map[chat.Region]float64 `yaml:"bias_ms"`
	// Prefer lists regions by country, best first, before any score. Never takes regions out for a country.
	Prefer map[string][]chat.Region `yaml:"prefer"`
	Never  map[string][]chat.Region `yaml:"never"`
	// Overrides are the operator's word on networks, written as address/bits; no two may overlap.
	Overrides map[string]Override `yaml:"overrides"`
	Learned   Learned             `yaml:"learned"`
	Health    Health              `yaml:"health"`
	// NameServer is how GeoDNS answers.
	NameServer NameServer `yaml:"name_server"`
	// Route53 is where the same decision goes as records instead.
	Route53 Route53 `yaml:"route53"`
}

// Override is the operator's word on one network. Prefer stands before the country's, Never adds to it. Place is where its
// clients are, whatever the address data says.
type Override struct {
	Prefer []chat.Region `yaml:"prefer"`
	Never  []chat.Region `yaml:"never"`
	Place  *Place        `yaml:"place,omitempty"`
}

// Place is a place on the globe.
type Place struct {
	Country   string  `yaml:"country"` // ISO 3166-1 alpha-2
	City      string  `yaml:"city"`
	Latitude  float64 `yaml:"latitude"`
	Longitude float64 `yaml:"longitude"`
}

// Health is the hysteresis of the health probes.
type Health struct {
	Interval time.Duration `yaml:"interval"`
	Timeout  time.Duration `yaml:"timeout"`
	// Down after so many failures (each adds one, OK successes in a row clear the count), up after so many successes in a row.
	Down int `yaml:"down"`
	OK   int `yaml:"ok"`
	Up   int `yaml:"up"`
}

// Network describes the backbone.
type Network struct {
	// DelayScale multiplies the built-in round-trip table between regions of a local `up`; 0 switches delays off.
	DelayScale float64 `yaml:"delay_scale"`
	// TrustedProxies are CIDRs whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// ProxyProtocol are CIDRs of proxies that begin each connection to a public listener with a PROXY protocol header (version 2).
	// From them it is required; from others it is a bad request.
	ProxyProtocol []string `yaml:"proxy_protocol"`
	TLS           TLS      `yaml:"tls"`
	// AllowedOrigins are browser origins that may open sockets, besides the regions' own; "*" allows all.
	AllowedOrigins []string `yaml:"allowed_origins"`
}

// Security holds key files and costs. Relative paths lie under DataDir/secrets; missing ones are made at first start by `up`.
type Security struct {
	SecretsDir      string        `yaml:"secrets_dir"`
	TokenTTL        time.Duration `yaml:"token_ttl"`
	RefreshTTL      time.Duration `yaml:"refresh_ttl"`
	Argon2MemoryKiB uint32        `yaml:"argon2_memory_kib"`
	Argon2Passes    uint32        `yaml:"argon2_passes"`
	Argon2Threads   uint8         `yaml:"argon2_threads"`
	// Argon2Parallel bounds password hashes at work at once: memory is at most this times Argon2MemoryKiB.
	Argon2Parallel int `yaml:"argon2_parallel"`
	// SealBodies off stores bodies in the clear: for the residency test only.
	SealBodies *bool `yaml:"seal_bodies"`
}

// Limits bound what a client can cost.
type Limits struct {
	FrameBytes          int     `yaml:"frame_bytes"`
	TextBytes           int     `yaml:"text_bytes"`
	RequestBytes        int     `yaml:"request_bytes"`
	UsernameMaxChars    int     `yaml:"username_max_chars"`
	PasswordMinChars    int     `yaml:"password_min_chars"`
	PasswordMaxBytes    int     `yaml:"password_max_bytes"`
	DisplayNameMaxChars int     `yaml:"display_name_max_chars"`
	SocketsPerAddress   int     `yaml:"sockets_per_address"`
	SocketsPerUser      int     `yaml:"sockets_per_user"`
	SendQueueBytes      int     `yaml:"send_queue_bytes"`
	SendsPerSecond      float64 `yaml:"sends_per_second"` // per user; bursts of ten times as much
	AuthPerMinute       float64 `yaml:"auth_per_minute"`  // sign-ups and log-ins per address; a minute's worth at once
	// AddressRequestsPerSecond bounds all REST calls and sockets of one address, where they enter a region; UserReadsPerSecond and
	// UserWritesPerSecond the REST calls of one person, GET and others; LookupsPerSecond the names that one looks up. Bursts of ten
	// times as much, of names of sixty times.
	AddressRequestsPerSecond float64 `yaml:"address_requests_per_second"`
	UserReadsPerSecond       float64 `yaml:"user_reads_per_second"`
	UserWritesPerSecond      float64 `yaml:"user_writes_per_second"`
	LookupsPerSecond         float64 `yaml:"lookups_per_second"`
	ResumeMaxEvents          int     `yaml:"resume_max_events"`
	RelayWindowOps           int     `yaml:"relay_window_ops"`
	RelayWindowBytes         int     `yaml:"relay_window_bytes"`
	RelayTailOps             int     `yaml:"relay_tail_ops"`
	// OutboxBytes is the budget of what a region's op logs owe another: from 70 % on who writes to people there is slowed, from
	// 95 % on refused.
	OutboxBytes        int64 `yaml:"outbox_bytes"`
	InFlightOps        int   `yaml:"in_flight_ops"` // writes under way in a node before it answers busy
	StoreReserveBytes  int64 `yaml:"store_reserve_bytes"`
	StoreCacheBytes    int64 `yaml:"store_cache_bytes"`
	StoreMemTableBytes int64 `yaml:"store_mem_table_bytes"`
	SessionsPerUser    int   `yaml:"sessions_per_user"`
	ContactsPerUser    int   `yaml:"contacts_per_user"`
	GroupMembers       int   `yaml:"group_members"`
	GroupsPerUser      int   `yaml:"groups_per_user"`
	GroupNameBytes     int   `yaml:"group_name_bytes"`
	// GroupReceiptMembers: in a larger group nobody is told who reads or types.
	GroupReceiptMembers int `yaml:"group_receipt_members"`
	ReactionsPerUser    int `yaml:"reactions_per_user"` // of one person on one message
}

// Retention is how long things are kept. Client outbox < op log; their sum < retries; inbox log ≥ retries (checked).
type Retention struct {
	ClientOutbox time.Duration `yaml:"client_outbox"`
	OpLog        time.Duration `yaml:"op_log"`
	Retries      time.Duration `yaml:"retries"`
	InboxLog     time.Duration `yaml:"inbox_log"`
}

// Timing holds the protocol's clocks.
type Timing struct {
	MaxDrift       time.Duration `yaml:"max_drift"`
	Watermark      time.Duration `yaml:"watermark"` // idle streams tell their watermark this often
	Resend         time.Duration `yaml:"resend"`
	HelloTimeout   time.Duration `yaml:"hello_timeout"`
	Heartbeat      time.Duration `yaml:"heartbeat"` // a socket silent for longer than two of these is closed
	WriteTimeout   time.Duration `yaml:"write_timeout"`
	RereadInbox    time.Duration `yaml:"reread_inbox"`    // a lost notification costs at most this
	DeliveredDelay time.Duration `yaml:"delivered_delay"` // delivered marks are gathered this long
	PresenceLease  time.Duration `yaml:"presence_lease"`
	ClaimTimeout   time.Duration `yaml:"claim_timeout"`
	LinkDead       time.Duration `yaml:"link_dead"`     // a silent backbone link is given up after this
	NodeLease      time.Duration `yaml:"node_lease"`    // a node that shares its store and cannot renew for so long stops to write
	ForwardAfter   time.Duration `yaml:"forward_after"` // a region silent for so long: the others hand on what they have of it
	AdoptWait      time.Duration `yaml:"adopt_wait"`    // so long after the end of its lease another node adopts its op log
}

// Telemetry configures logs and traces.
type Telemetry struct {
	LogLevel  string `yaml:"log_level"`  // debug, info, warn, error
	LogFormat string `yaml:"log_format"` // text, json
	Traces    string `yaml:"traces"`     // off, log (to the log), or file:PATH
}

// Sealed says whether bodies at rest are sealed (the default).
func (s Security) Sealed() bool { return s.SealBodies == nil || *s.SealBodies }

// Topology gives the regions and zones in the words of chat, sorted.
func (c *Config) Topology() chat.Topology {
	t := chat.Topology{Zones: make(map[chat.Zone]chat.ZoneSpec, len(c.Zones))}
	for _, r := range c.Regions {
		t.Regions = append(t.Regions, r.Name)
	}
	slices.Sort(t.Regions)
	for _, z := range c.Zones {
		regions := slices.Clone(z.Regions)
		slices.Sort(regions)
		t.Zones[z.Name] = chat.ZoneSpec{Name: z.Name, Regions: regions, Policy: z.Policy, Transit: z.Transit, Ack: z.Ack, AtSignUp: z.AtSignUp}
	}
	return t
}

// Region gives the configuration of one region.
func (c *Config) Region(name chat.Region) (Region, bool) {
	for _, r := range c.Regions {
		if r.Name == name {
			return r, true
		}
	}
	return Region{}, false
}
