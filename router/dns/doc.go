// Package dns is the GeoDNS server: it answers a deployment's names with the regions that serve the asking client, on UDP
// and TCP, with EDNS client subnets (RFC 7871) and truthful scopes. The decision is the router's table; nothing here weighs
// regions. Served are, for the domain and for each zone's own host:
//
//	<host>                  A, AAAA, HTTPS (only where regions speak https), SRV, TXT; SOA and NS at the domain
//	_meridian._tcp.<host>   SRV
//	_why.<host>             TXT: the decision's reasons
//	<region>.<domain>       A, AAAA of that region, whoever asks
//
// DNS does not know the user, so residency by token is discovery's work; a zone's host names only that zone's regions.
package dns
