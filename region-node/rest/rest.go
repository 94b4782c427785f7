// Package rest answers the REST calls of the client protocol (docs/protocol.md) in a region of the caller's home zone: it
// reads and checks requests, asks packages auth and people, and prints their answers. Every refusal is typed and counted.
package rest

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/auth"
	"meridian/region-node/groups"
	"meridian/region-node/limits"
	"meridian/region-node/people"
)

// Metrics counts by names of the project's list.
type Metrics interface {
	Count(name string, labels ...string)
	Observe(name string, value float64, labels ...string)
}

// Presence tells who is online, as far as this region may know; lastSeen is zero where it is not known.
type Presence interface {
	Lookup(ctx context.Context, user chat.UserID) (online bool, lastSeen time.Time)
}

// Options make a handler. All are needed.
type Options struct {
	Config   *config.Config
	Auth     *auth.Service
	People   *people.Service
	Groups   *groups.Service
	Presence Presence
	// Limits bound what a person asks for, and how many names a person looks up: nobody crawls the directory.
	Limits *limits.Limits
	// Address gives the client's address, seen through trusted proxies.
	Address func(*http.Request) netip.Addr
	// Origin says whether browser pages of that origin may read the answers.
	Origin  func(origin string) bool
	Metrics Metrics
	Log     *slog.Logger
	Now     func() time.Time
}

// handler holds what calls need. It is safe for concurrent use.
type handler struct {
	Options
	mux *http.ServeMux
}

// call answers one request. What it returns is told to the client; after an error nothing has been written.
type call func(w http.ResponseWriter, r *http.Request) error

// userCall is a call of somebody who is logged in.
type userCall func(w http.ResponseWriter, r *http.Request, c auth.Claims) error

// New makes the handler of all REST calls but /v1/route and the probes.
func New(opt Options) http.Handler {
	h := &handler{Options: opt, mux: http.NewServeMux()}
	h.path("/v1/signup", methods{http.MethodPost: h.signUp})
	h.path("/v1/login", methods{http.MethodPost: h.logIn})
	h.path("/v1/token", methods{http.MethodPost: h.refresh})
	h.path("/v1/logout", methods{http.MethodPost: h.user(h.logOut)})
	h.path("/v1/me", methods{http.MethodGet: h.user(h.me)})
	h.path("/v1/me/password", methods{http.MethodPost: h.user(h.changePassword)})
	h.path("/v1/me/sessions", methods{http.MethodGet: h.user(h.sessions), http.MethodDelete: h.user(h.revokeOthers)})
	h.path("/v1/me/sessions/{id}", methods{http.MethodDelete: h.user(h.revokeSession)})
	h.path("/v1/users/{username}", methods{http.MethodGet: h.user(h.named(h.profile))})
	h.path("/v1/contacts", methods{http.MethodGet: h.user(h.contacts)})
	h.path("/v1/contacts/{username}", methods{
		http.MethodPut: h.user(h.named(h.putContact)), http.MethodDelete: h.user(h.named(h.deleteContact)),
	})
	h.path("/v1/blocks", methods{http.MethodGet: h.user(h.blocks)})
	h.path("/v1/blocks/{username}", methods{
		http.MethodPut: h.user(h.named(h.putBlock)), http.MethodDelete: h.user(h.named(h.deleteBlock)),
	})
	h.path("/v1/conversations", methods{http.MethodGet: h.user(h.conversations)})
	h.path("/v1/groups", methods{http.MethodPost: h.user(h.makeGroup)})
	h.path("/v1/groups/{id}", methods{http.MethodGet: h.user(h.group), http.MethodPatch: h.user(h.renameGroup)})
	h.path("/v1/groups/{id}/members/{username}", methods{
		http.MethodPut: h.user(h.named(h.putMember)), http.MethodDelete: h.user(h.named(h.deleteMember)),
	})
	h.path("/v1/conversations/{id}/messages", methods{http.MethodGet: h.user(h.messages)})
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { h.fail(w, r, notFound()) })
	return h
}

func notFound() error {
	return &chat.Error{Code: chat.CodeNotFound, Op: "rest", Message: "no such path"}
}
