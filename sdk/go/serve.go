package meridian

import (
	"context"
	"time"

	"github.com/gorilla/websocket"
)

// serving is one link from hello to its end. Only the goroutine of Run uses it.
type serving struct {
	c        *Client
	ctx      context.Context
	l        *link
	ep       Endpoint
	live     *liveness
	welcomed bool
	maxLevel AckLevel
	since    time.Time
	stable   bool
	moveAt   time.Time // asked to go away: when; zero: not asked
	said     *Error    // the last error frame that names no send
	hard     int       // sends in a row that failed since the region is unwell
}

// hardMax is how many refusals by an unwell region send the client to the next one.
const hardMax = 3

// serve opens a link to ep and keeps it until it ends.
func (c *Client) serve(ctx context.Context, ep Endpoint) linkEnd {
	if err := c.freshTokens(ctx, ep); err != nil {
		return linkEnd{err: err, stay: CodeOf(err) == CodeUnauthorized && c.unauthorized == 0}
	}
	l, err := c.dial(ctx, ep)
	if err != nil {
		return linkEnd{err: err, silent: CodeOf(err) == CodeUnreachable}
	}
	ctx, cancel := context.WithCancel(ctx)
	now := c.opt.Clock.Now()
	s := &serving{c: c, ctx: ctx, l: l, ep: ep, live: newLiveness(now), since: now}
	s.live.setActive(true, now) // nobody waits 31 s for a welcome
	code := 0
	defer func() {
		cancel()
		l.close(code)
		c.lostLink()
	}()
	c.mu.Lock()
	c.out.newLink()
	hello := helloFrame{T: "hello", Token: c.tokens.Access, Device: c.opt.Device, Resume: c.cursor, As: c.opt.As, Failed: c.eps.silentNow(now, ep.Region)}
	c.mu.Unlock()
	if err := l.write(hello); err != nil {
		return endOf(err, nil)
	}
	end := s.loop()
	if ctx.Err() != nil || end.err == errMoved { //nolint:errorlint // this very error: by Is it would be every error of its code
		code = websocket.CloseNormalClosure
	}
	return end
}

// lostLink forgets what belongs to a link.
func (c *Client) lostLink() {
	if c.rereading { // whatever it has read, the next resume gives a reset again
		c.rereading, c.heldCursor = false, ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.url, c.typing = "", nil
	for _, r := range c.reads {
		r.onWire = false
	}
}

var (
	errMoved = &Error{Code: CodeWrongRegion, Retryable: true, Message: "the region asked to move"}
	errDead  = &Error{Code: CodeHeartbeatTimeout, Retryable: true, Message: "no answer from the region"}
	errHard  = &Error{Code: CodeRegionDegraded, Retryable: true, Message: "the region does not take sends"}
)

func (s *serving) loop() linkEnd {
	for {
		now := s.c.opt.Clock.Now()
		if end, over := s.tick(now); over {
			return end
		}
		if err := s.flush(now); err != nil {
			return endOf(err, s.said)
		}
		select {
		case <-s.ctx.Done():
			return linkEnd{err: s.ctx.Err()}
		case f, ok := <-s.l.frames:
			if !ok {
				return endOf(s.l.err, s.said)
			}
			s.live.hear(s.c.opt.Clock.Now())
			if end, over := s.frame(&f); over {
				return end
			}
		case r := <-s.c.rereads:
			if end, over := s.onReread(r); over {
				return end
			}
		case <-s.c.wake:
		case <-s.c.opt.Clock.After(s.nextWake(now).Sub(now)):
		}
	}
}

// tick does what time asks for.
func (s *serving) tick(now time.Time) (linkEnd, bool) {
	s.live.setActive(!s.welcomed || s.c.active(), now)
	ping, dead := s.live.next()
	switch {
	case !now.Before(dead):
		return linkEnd{err: errDead, silent: true}, true
	case !s.moveAt.IsZero() && !now.Before(s.moveAt):
		return linkEnd{err: errMoved}, true
	case s.welcomed && !now.Before(ping) && s.live.pinged.IsZero():
		s.live.pinged = now
		if err := s.write(pingFrame{T: "ping"}); err != nil {
			return endOf(err, s.said), true
		}
	}
	if s.welcomed && !s.stable && now.Sub(s.since) >= stableAfter {
		s.stable = true
		s.c.eps.worked(s.ep.URL)
		s.c.dropReads()
	}
	return linkEnd{}, false
}

// nextWake gives when tick or flush may have something to do.
func (s *serving) nextWake(now time.Time) time.Time {
	ping, dead := s.live.next()
	at := earlier(ping, dead)
	if !s.stable {
		at = earlier(at, s.since.Add(stableAfter))
	}
	if !s.moveAt.IsZero() {
		at = earlier(at, s.moveAt)
	}
	if s.welcomed {
		s.c.mu.Lock()
		if out, ok := s.c.out.wakeAt(); ok {
			at = earlier(at, out)
		}
		for _, r := range s.c.reads {
			if !r.onWire {
				at = earlier(at, r.notBefore)
			}
		}
		s.c.mu.Unlock()
	}
	return later(at, now.Add(time.Millisecond))
}

// flush writes what waits. Nothing but hello goes out before the welcome.
func (s *serving) flush(now time.Time) error {
	if !s.welcomed {
		return nil
	}
	for _, f := range s.c.takeFrames(now) {
		if err := s.write(f); err != nil {
			return err
		}
	}
	return nil
}

func (s *serving) write(frame any) error {
	s.live.spoke = s.c.opt.Clock.Now()
	return s.l.write(frame)
}

// takeFrames gives what is to be written now: sends in order, then read marks and typing signs.
func (c *Client) takeFrames(now time.Time) []any {
	c.mu.Lock()
	defer c.mu.Unlock()
	frames := c.out.due(now)
	for conversation, r := range c.reads {
		if !r.onWire && !now.Before(r.notBefore) {
			r.onWire = true
			frames = append(frames, readFrame{T: "read", ConversationID: conversation, MessageID: r.messageID})
		}
	}
	for _, conversation := range c.typing {
		frames = append(frames, typingFrame{T: "typing", ConversationID: conversation})
	}
	c.typing = nil
	return frames
}

const (
	// readAgainAfter is when a read mark that was refused is told again, and readRefusalsMax how often.
	readAgainAfter  = 5 * time.Second
	readRefusalsMax = 60
)

// readAgain keeps the read marks that are on their way for later: one was refused, and the refusal does not say which. The
// region may have been told of a message that was shown elsewhere, and has not reached it yet.
func (c *Client) readAgain(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conversation, r := range c.reads {
		if !r.onWire {
			continue
		}
		if r.refusals++; r.refusals > readRefusalsMax {
			delete(c.reads, conversation)
			continue
		}
		r.onWire, r.notBefore = false, now.Add(readAgainAfter)
	}
}

// dropReads forgets the read marks that a link took which has held for a while since.
func (c *Client) dropReads() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conversation, r := range c.reads {
		if r.onWire {
			delete(c.reads, conversation)
		}
	}
}

const (
	// renewBefore is how long before its end an access token is renewed.
	renewBefore = 30 * time.Second
	// renewTimeout bounds the call.
	renewTimeout = 3 * time.Second
)

// freshTokens renews the log-in when it ends soon or was refused.
func (c *Client) freshTokens(ctx context.Context, ep Endpoint) error {
	c.mu.Lock()
	old := c.tokens
	c.mu.Unlock()
	ending := !old.ExpiresAt.IsZero() && old.ExpiresAt.Sub(c.opt.Clock.Now()) < renewBefore
	if !ending && !c.renew || old.Refresh == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	account, err := c.api(ep.URL).Renew(ctx, old.Refresh)
	if err != nil {
		return err
	}
	c.renew = false
	c.mu.Lock()
	c.tokens = account.Tokens
	c.mu.Unlock()
	c.opt.Handle(TokensChanged{Tokens: account.Tokens})
	return nil
}
