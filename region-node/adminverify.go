package regionnode

import (
	"encoding/json"
	"net/http"

	"meridian/chat"
	"meridian/region-node/verify"
	"meridian/region-node/wire"
)

// VerifyLine is a line of the answer to POST /v1/admin/verify: how far it is, then, with Done, what it showed; or why it ended.
type VerifyLine struct {
	verify.Report
	Done  bool        `json:"done"`
	Error *wire.Error `json:"error,omitempty"`
}

// serveVerify compares this region with another one (query: zone, peer, repair=true to repair) and tells, line by line, how far it is.
func (n *Node) serveVerify(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	tell := func(line VerifyLine) {
		_ = out.Encode(line) // who asked is gone, then: the context ends
		_ = flush.Flush()
	}
	report, err := n.verify.Compare(r.Context(), chat.Zone(q.Get("zone")), chat.Region(q.Get("peer")), q.Get("repair") == "true", func(now verify.Report) {
		tell(VerifyLine{Report: now})
	})
	last := VerifyLine{Report: report, Done: true}
	if err != nil {
		e := wire.ErrorOf(chat.AsError(err))
		last.Error = &e
	}
	tell(last)
}
