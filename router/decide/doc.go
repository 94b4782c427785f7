// Package decide answers one question: which regions should serve this client, best first, and why? It is pure: the same
// input gives the same answer, it knows no clock, socket or file, and it changes nothing. DNS, discovery, the edge and
// `meridian explain` all ask it, so that what explain prints is what the others do.
//
// Reasons are weighed in this order: residency, the operator's drain, health, nearness, load.
//
// Nearness is a score in milliseconds, the lower the better:
//
//	score = 5 + 0.015*km(client, n) + RTT[n][r] + bias_ms[r]
//
// n is the network point nearest to the client by distance and RTT the measured table between network points. Distance
// alone would send Brazil to Cape Town when São Paulo is down, 338 ms away instead of 115. Only where a served region lies
// within 2,000 km does distance choose the first place. What a region's own sockets have measured to the client's network, or
// to its country and autonomous system, stands before all of this: score = p50 + bias_ms[r].
package decide
