// Package link carries what regions say to each other: replication frames, tells, requests and streams, over one WebSocket
// per pair of regions inside mutual TLS 1.3. It holds sockets and goroutines; what the frames mean is decided elsewhere.
package link
