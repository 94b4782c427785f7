package regionnode

import (
	"net/http"
	"time"

	"meridian/chat"
	"meridian/region-node/wire"
)

// offsetMax bounds how wrong a test may make a clock.
const offsetMax = 365 * 24 * time.Hour

// serveClock makes this node's clock wrong by ?offset=, a duration like 1h or -500ms; 0s makes it right again.
func (n *Node) serveClock(w http.ResponseWriter, r *http.Request) {
	offset, err := time.ParseDuration(r.URL.Query().Get("offset"))
	switch {
	case n.opt.SetClock == nil:
		wire.WriteError(w, r, &chat.Error{Code: chat.CodeInvalid, Message: "this node's clock is the machine's: a node that was started with --clock-offset lets it be set"})
		return
	case err != nil || offset.Abs() > offsetMax:
		wire.WriteError(w, r, &chat.Error{Code: chat.CodeInvalid, Message: "offset must be a duration of at most a year, like 1h or -500ms"})
		return
	}
	n.opt.Log.Warn("clock set by an admin call", "offset", offset)
	n.opt.SetClock(offset)
	w.WriteHeader(http.StatusNoContent)
}
