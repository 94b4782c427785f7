package chat

const (
	// MaxBusTopic bounds a topic's name, in bytes.
	MaxBusTopic = 64
	// MaxBusPayload bounds a hint, in bytes.
	MaxBusPayload = 64 << 10
)

// Bus passes hints between the nodes of one region. It is lossy, unordered and may double: what must arrive does not go this
// way. A Bus value is one node's. Safe for concurrent use.
type Bus interface {
	// Publish gives payload to all other nodes' subscribers of topic, never to this node's own. It does not block. False: nobody
	// gets it, because the bus does not work now, too much waits already, or topic or payload is empty or too large.
	Publish(topic string, payload []byte) bool
	// Subscribe has f called for each hint of topic, from one goroutine; f must not block, and may keep the payload. After stop
	// has returned f is not called any more; f must not call stop.
	Subscribe(topic string, f func(payload []byte)) (stop func())
	// Works says whether hints are thought to reach the other nodes now. While it is false use the links between the nodes.
	Works() bool
}
