// Package link carries what nodes say to each other, within a region and between regions: replication frames, tells,
// requests and streams, over one WebSocket per pair of nodes inside mutual TLS 1.3. It holds sockets and goroutines; what the frames mean is decided elsewhere.
package link
