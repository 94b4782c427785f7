package messages

// Lose makes the hub forget who reads which log, as no code does.
func (h *Hub) Lose() {
	for i := range h.shards {
		h.shards[i].mu.Lock()
		clear(h.shards[i].logs)
		h.shards[i].mu.Unlock()
	}
}

// Readers counts the logs that somebody reads.
func (h *Hub) Readers() (n int) {
	for i := range h.shards {
		h.shards[i].mu.Lock()
		n += len(h.shards[i].logs)
		h.shards[i].mu.Unlock()
	}
	return n
}
