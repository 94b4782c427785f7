// Package web carries the chat client inside the binary and serves it.
//
// The client is built by `make web` into dist, which is not part of the repository; a binary built without it serves
// fallback instead: one hand-written page that says how to build the client.
package web

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed all:dist all:fallback
var embedded embed.FS

// Options are what the served pages must know about the deployment.
type Options struct {
	// ConnectOrigins lists every region's http(s) and ws(s) origin, such as "https://eu.example.org" and
	// "wss://eu.example.org". It is asked on each request, for regions come and go. A region that is missing here
	// cannot be failed over to: the browser's content security policy would block it. Nil means none.
	ConnectOrigins func() []string
	// Version is the binary's version, told in the Meridian-Version header; empty sends none.
	Version string
}

// Handler serves the client: hashed assets for ever, pages always revalidated, the application's page for every path
// that names no file. It answers 404 under /assets/ for what is missing, and for everything that belongs to the API
// (/v1/, /healthz, /readyz, /metrics), so that a mistake in the caller's routes never shows HTML to a program.
func Handler(opts Options) http.Handler {
	dist, err := fs.Sub(embedded, "dist")
	if err != nil {
		panic(err) // the name is a constant: it cannot be invalid
	}
	fallback, err := fs.Sub(embedded, "fallback")
	if err != nil {
		panic(err)
	}
	return newHandler(dist, fallback, opts)
}

// Built tells whether the full client is in this binary.
func Built() bool {
	_, err := fs.Stat(embedded, "dist/index.html")
	return err == nil
}
