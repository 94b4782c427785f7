// Package route53 renders the decision of router/decide as records of Amazon Route 53, for people who keep their DNS there, and brings a
// hosted zone to what was rendered: first a Plan, which says what would change, then Apply. Decision 0027 says why the records are as
// they are, and what is lost against GeoDNS.
//
// The records of a host, for each of the types A, AAAA, HTTPS and SRV, from the name that is asked to the address:
//
//	chat.example.org            geolocation: a country, a continent, or * for the rest
//	us-east.eu-west._geo.…      failover: the first region of this order, and the rest of it
//	us-east._geo.…              what the region answers, with the health check of its /v1/probe
//
// So whoever is nearest to us-east gets eu-west when us-east is down, by the measured round trips and not by the next larger geography.
// While a region drains, its place in every order is a pair of weighted records: 75, 50, 25 in a hundred lead there, the rest on; then it
// stands last.
//
// Render is a function of its input. Only Client knows the network.
package route53
