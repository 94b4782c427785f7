package sim

import "time"

// event is something that happens at a time; seq orders those of one time.
type event struct {
	at  time.Duration
	seq uint64
	key uint64 // of its dice
	do  func()
}

func (e *event) before(f *event) bool { return e.at < f.at || e.at == f.at && e.seq < f.seq }

// eventHeap is a binary heap: container/heap would put each event into an interface of its own.
type eventHeap []event

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	list := *h
	for i := len(list) - 1; i > 0; {
		up := (i - 1) / 2
		if !list[i].before(&list[up]) {
			return
		}
		list[i], list[up] = list[up], list[i]
		i = up
	}
}

// pop takes the first event.
func (h *eventHeap) pop() event {
	list := *h
	first, n := list[0], len(list)-1
	list[0], list[n] = list[n], event{}
	list = list[:n]
	*h = list
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < n; child++ {
			if list[child].before(&list[least]) {
				least = child
			}
		}
		if least == i {
			return first
		}
		list[i], list[least] = list[least], list[i]
		i = least
	}
}
