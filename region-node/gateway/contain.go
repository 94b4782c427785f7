package gateway

import (
	"fmt"
	"runtime/debug"

	"meridian/chat"
)

// contain, deferred, ends this socket and nothing more where a defect of ours would end the process: the other people of the
// node must not pay for it, and the client, which goes on to the next node, must not take that one down too.
func (s *session) contain() {
	cause := recover()
	if cause == nil {
		return
	}
	s.g.opt.Metrics.Count("defects_total", "panic")
	s.log.Error("socket panicked", "session", s.id, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	s.conn.Close(CloseCode(chat.CodeInternal), string(chat.CodeInternal))
}
