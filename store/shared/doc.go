// Package shared lets the nodes of a region, each a process of its own, share one store that another process keeps: a Server
// lends handles of it over a socket, a Client is one node's handle. It gives a small region on the embedded store what a
// database cluster gives a large one.
//
// One connection carries everything of one client. Requests are numbered and may be answered in any order; commits reach the
// store in the order of the client's calls, and their callbacks come in that order where the store's do. Before anything
// else both sides prove that they know the region's secret (handshake.go). Afterwards each message is a frame: its length,
// then bytes of one gob stream per direction (frame.go).
//
// A client that loses its connection answers at once, with CodeRegionDegraded, until it has another. A write that was under
// way has an unknown outcome then.
package shared

import "time"

const (
	// handshakeTimeout is how long a stranger may take to say who it is.
	handshakeTimeout = 5 * time.Second
	// heartbeatEvery is how often a client asks for a sign of life; a side that hears nothing for deadAfter gives the
	// connection up, and so does one whose words are not taken for so long.
	heartbeatEvery = time.Second
	deadAfter      = 5 * time.Second
	silentSteps    = 5
	// drainFor is how long a server that closes lets reads go on.
	drainFor = time.Second
	// redialMin and redialMax bound the pause between two tries to connect.
	redialMin = 50 * time.Millisecond
	redialMax = time.Second
	// maxUnderWay bounds the requests of one connection that are not answered yet.
	maxUnderWay = 64 << 10
	// maxConnections bounds the clients of a server.
	maxConnections = 256
	// maxFrameBytes bounds what one side takes from the other at once; maxContentBytes what it sends, by an estimate that
	// takes rowBytes for each row besides its text.
	maxFrameBytes   = 128 << 20
	maxContentBytes = 64 << 20
	rowBytes        = 256
	// bufferBytes is the size of the buffers of a connection.
	bufferBytes = 64 << 10
)
