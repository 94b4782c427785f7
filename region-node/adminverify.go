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

// NamesLine is a line of the answer to POST /v1/admin/verify/names, in the same way.
type NamesLine struct {
	verify.NamesReport
	Done  bool        `json:"done"`
	Error *wire.Error `json:"error,omitempty"`
}

// serveVerify compares this region with another one (query: zone, peer, repair=true to repair) and tells, line by line, how far it is.
func (n *Node) serveVerify(w http.ResponseWriter, r *http.Request) {
	q, tell := r.URL.Query(), lines(w)
	report, err := n.verify.Compare(r.Context(), chat.Zone(q.Get("zone")), chat.Region(q.Get("peer")), q.Get("repair") == "true", func(now verify.Report) {
		tell(VerifyLine{Report: now})
	})
	tell(VerifyLine{Report: report, Done: true, Error: wireError(err)})
}

// serveVerifyNames compares the usernames known here with those of another region; the query is the same, but zone may be missing.
func (n *Node) serveVerifyNames(w http.ResponseWriter, r *http.Request) {
	q, tell := r.URL.Query(), lines(w)
	report, err := n.verify.CompareNames(r.Context(), chat.Zone(q.Get("zone")), chat.Region(q.Get("peer")), q.Get("repair") == "true", func(now verify.NamesReport) {
		tell(NamesLine{NamesReport: now})
	})
	tell(NamesLine{NamesReport: report, Done: true, Error: wireError(err)})
}

// lines begins an answer of one JSON value a line, and gives what writes them.
func lines(w http.ResponseWriter) (tell func(line any)) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	return func(line any) {
		_ = out.Encode(line) // who asked is gone, then: the context ends
		_ = flush.Flush()
	}
}

func wireError(err error) *wire.Error {
	if err == nil {
		return nil
	}
	e := wire.ErrorOf(chat.AsError(err))
	return &e
}
