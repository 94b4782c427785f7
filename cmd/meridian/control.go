package main

import (
	"context"
	"net/http"
	"time"

	"meridian/chat"
	regionnode "meridian/region-node"
	"meridian/region-node/wire"
)

// regionState is one region in the answer to GET /v1/control/status.
type regionState struct {
	Region  chat.Region        `json:"region"`
	Running bool               `json:"running"`
	Cut     []chat.Region      `json:"cut,omitempty"` // links that an operator cut
	Status  *regionnode.Status `json:"status,omitempty"`
	// Gone are the nodes that do not answer while others do; a local `up` has one node in each region.
	Gone []chat.NodeID `json:"gone,omitempty"`
}

// controlHandler serves the verbs of a local `up`. Every call needs the admin token.
func (u *up) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/control/status", func(w http.ResponseWriter, r *http.Request) {
		wire.WriteJSON(w, http.StatusOK, u.status(r.Context()))
	})
	mux.HandleFunc("POST /v1/control/region/{region}/{verb}", func(w http.ResponseWriter, r *http.Request) {
		region := chat.Region(r.PathValue("region"))
		if err := u.regionVerb(r.Context(), region, r.PathValue("verb"), chat.Region(r.URL.Query().Get("peer"))); err != nil {
			wire.WriteError(w, r, err)
			return
		}
		wire.WriteJSON(w, http.StatusOK, u.status(r.Context()))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+u.deployment.secrets.adminToken {
			wire.WriteError(w, r, &chat.Error{Code: chat.CodeUnauthorized, Message: "the admin token is missing or wrong"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// controlTimeout bounds one call of a verb.
const controlTimeout = 30 * time.Second

// call asks the control listener of a running `up`.
func (r ready) call(ctx context.Context, method, path string, into any) error {
	err := callAdmin(ctx, r.Control+path, r.AdminToken, method, into)
	if exit, ok := err.(*exitError); ok && exit.code == exitUnreachable { //nolint:errorlint // callAdmin gives this very type
		exit.what, exit.next = "the local deployment does not answer: "+exit.what, "meridian up"
	}
	return err
}

func exitOf(c chat.Code) int {
	switch c {
	case chat.CodeInvalid, chat.CodeNotFound:
		return exitUsage
	case chat.CodeVersionConflict:
		return exitChanged
	case chat.CodeDenied:
		return exitRefused
	}
	return exitFailed
}
