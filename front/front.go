// Package front is the client-facing side of a process: TLS, HTTP/2 and who it is that asks, however many proxies stand
// between. Nodes and routers serve their public listeners through it.
package front

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"meridian/config"
)

// What one HTTP/2 connection may cost. Sockets do not come over it: a WebSocket is an HTTP/1.1 connection of its own.
const (
	// maxConcurrentStreams bounds the requests under way on one connection.
	maxConcurrentStreams = 100
	// pingAfter so long without a frame, and pingTimeout without an answer, a connection is closed.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
	// writeByteTimeout closes a connection whose client takes not a byte for so long.
	writeByteTimeout = 30 * time.Second
)

// Metrics counts by the names of observe's list.
type Metrics interface {
	Count(name string, labels ...string)
	Set(name string, value float64, labels ...string)
	Remove(name string, labels ...string)
}

// Front serves public listeners. A nil Front serves plain HTTP and believes no proxy.
type Front struct {
	trusted []netip.Prefix // whose X-Forwarded-For is believed
	proxies []netip.Prefix // who begin each connection with a PROXY header
	certs   certificates   // nil: plain HTTP
	every   time.Duration  // how often certificates are looked at
	metrics Metrics
	log     *slog.Logger
}

// New prepares what cfg.Network asks for and loads the certificates. The error has CodeInvalid and names the key or file.
func New(cfg *config.Config, log *slog.Logger) (*Front, error) {
	f := &Front{every: lookEvery, metrics: noMetrics{}, log: log}
	var err error
	if f.trusted, err = prefixes("network.trusted_proxies", cfg.Network.TrustedProxies); err != nil {
		return nil, err
	}
	if f.proxies, err = prefixes("network.proxy_protocol", cfg.Network.ProxyProtocol); err != nil {
		return nil, err
	}
	f.certs, err = openCertificates(cfg, log)
	return f, err
}

// With gives the same front, with the same certificates, that counts in m.
func (f *Front) With(m Metrics) *Front {
	other := *f
	other.metrics = m
	return &other
}

// Serve serves l until it or srv is closed; srv is as for http.Server.Serve, and the front sets what it needs. It returns
// what http.Server.Serve does.
func (f *Front) Serve(srv *http.Server, l net.Listener) error {
	if f == nil {
		return srv.Serve(l)
	}
	srv.Handler = f.seen(srv.Handler)
	if len(f.proxies) > 0 {
		l = &proxyListener{Listener: l, front: f}
	}
	if f.certs == nil {
		return srv.Serve(l)
	}
	defer f.keep()()
	srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.certs.get, NextProtos: f.certs.protocols()}
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: maxConcurrentStreams, SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: writeByteTimeout,
	}
	return srv.ServeTLS(l, "", "")
}

type noMetrics struct{}

func (noMetrics) Count(string, ...string)        {}
func (noMetrics) Set(string, float64, ...string) {}
func (noMetrics) Remove(string, ...string)       {}
