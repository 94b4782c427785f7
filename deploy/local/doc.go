// Package local installs, starts, watches and stops the real servers of a region (Cassandra, Redis and their like) on one
// machine, for tests and for `meridian up --stores real`. Servers listen on loopback addresses of their own, with the ports
// that they have in production; each runs in a process group of its own, with its pid in a file beside its log, so that
// whoever comes later can say whether it runs and stop it.
package local
