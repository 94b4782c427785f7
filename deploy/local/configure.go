package local

import "meridian/config"

// Configure points a region's configuration at its servers.
func (a RegionAccess) Configure(r *config.Region) {
	c := a.Cassandra
	r.Cassandra = &config.Cassandra{Hosts: c.Hosts, Datacenter: c.Datacenter, Keyspace: c.Keyspace, Replicas: c.Replication}
	if c.App != nil {
		r.Cassandra.User, r.Cassandra.PasswordFile = c.App.User, c.App.PasswordFile
		r.Cassandra.Owner, r.Cassandra.OwnerPasswordFile = c.Owner.User, c.Owner.PasswordFile
	}
	if c.TLS != nil {
		r.Cassandra.CAFile, r.Cassandra.CertFile, r.Cassandra.KeyFile = c.TLS.CA, c.TLS.Cert, c.TLS.Key
	}
	r.Redis = &config.Redis{Addresses: []string{a.Redis.Address}, PasswordFile: a.Redis.PasswordFile, CAFile: a.Redis.CAFile}
}
