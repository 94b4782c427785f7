// Package dns is the GeoDNS server: it answers a deployment's names with the regions that serve the asking client, on UDP
// and TCP, with EDNS client subnets (RFC 7871) and truthful scopes. The decision is the router's table; nothing here weighs
// regions. Served are, for the domain and for each zone's own host:
//
//	<host>                  A, AAAA, HTTPS (only where regions speak https), SRV, TXT; SOA, NS and CAA at the domain
//	_meridian._tcp.<host>   SRV
//	explain.<host>          TXT: the decision's reasons
//	<region>.<domain>       A, AAAA of that region, whoever asks
//
// A zone for which there are keys is signed as it answers (DNSSEC); cookies (RFC 7873) and a rate limit keep it from being used
// against others.
//
// DNS does not know the user, so residency by token is discovery's work; a zone's host names only that zone's regions.
package dns
