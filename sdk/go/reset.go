package meridian

import (
	"context"
	"slices"
)

// pageSize is how much of a list is read at once.
const pageSize = 100

// reread is a part of what a reset brings: the messages of one conversation, oldest first; then done or err.
type reread struct {
	of       *serving
	messages []Message
	done     bool
	err      error
}

// startReread begins to read the conversations anew. Until that is done the old cursor stays: should the link end first, the
// next one gives a reset again.
func (s *serving) startReread(cursor string) {
	c := s.c
	c.rereading, c.heldCursor = true, cursor
	c.mu.Lock()
	c.known.forget()
	c.mu.Unlock()
	c.opt.Handle(Reset{})
	api := c.api(s.ep.URL)
	go func() {
		give := func(r reread) bool {
			r.of = s
			select {
			case c.rereads <- r:
				return true
			case <-s.ctx.Done():
				return false
			}
		}
		err := readAnew(s.ctx, api, c.opt.ResetMessages, func(m []Message) bool { return give(reread{messages: m}) })
		give(reread{done: err == nil, err: err})
	}()
}

// readAnew reads the newest messages of every conversation.
func readAnew(ctx context.Context, api *API, each int, give func([]Message) bool) error {
	for before := ""; ; {
		page, next, err := api.Conversations(ctx, before, pageSize)
		if err != nil {
			return err
		}
		for _, conversation := range page {
			messages, err := newest(ctx, api, conversation.ID, each)
			if err != nil {
				return err
			}
			if !give(messages) {
				return ctx.Err()
			}
		}
		if next == "" {
			return nil
		}
		before = next
	}
}

// newest reads up to n messages of a conversation and gives them oldest first.
func newest(ctx context.Context, api *API, conversation string, n int) ([]Message, error) {
	var all []Message
	for before := ""; len(all) < n; {
		page, next, err := api.Messages(ctx, conversation, before, min(pageSize, n-len(all)))
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if next == "" {
			break
		}
		before = next
	}
	slices.Reverse(all)
	return all, nil
}

func (s *serving) onReread(r reread) (linkEnd, bool) {
	c := s.c
	if r.of != s {
		return linkEnd{}, false // of a link that has ended
	}
	for _, m := range r.messages {
		c.give(m, "")
	}
	switch {
	case r.err != nil:
		return linkEnd{err: r.err}, true
	case r.done:
		c.rereading = false
		cursor := c.heldCursor
		c.heldCursor = ""
		c.opt.Handle(Synced{Cursor: c.advance(cursor)})
	}
	return linkEnd{}, false
}
