package meridian

import "time"

const (
	// connectTimeout bounds a connection up to the upgrade.
	connectTimeout = 1500 * time.Millisecond
	// pingAfter and deadAfter: silence while somebody looks, or while something is not acknowledged.
	pingAfter = 3 * time.Second
	deadAfter = 6 * time.Second
	// idlePing is the default interval of an idle client; the welcome may say another.
	idlePing = 25 * time.Second
)

// liveness decides when to ping a link and when to give it up.
type liveness struct {
	heard     time.Time // last frame of the server
	spoke     time.Time // last frame to the server
	pinged    time.Time // last ping that has not been followed by any frame
	watched   time.Time // since when the client is active; zero: idle
	heartbeat time.Duration
}

func newLiveness(now time.Time) *liveness {
	return &liveness{heard: now, spoke: now, heartbeat: idlePing}
}

func (l *liveness) hear(now time.Time) { l.heard, l.pinged = now, time.Time{} }

// setActive: silence counts only from when the client became active; an idle one is silent by right.
func (l *liveness) setActive(active bool, now time.Time) {
	switch {
	case !active:
		l.watched = time.Time{}
	case l.watched.IsZero():
		l.watched = now
	}
}

// next gives when to ping, and when to give up unless a frame comes first.
func (l *liveness) next() (ping, dead time.Time) {
	if l.watched.IsZero() {
		ping = earlier(l.heard, l.spoke).Add(l.heartbeat)
		dead = l.heard.Add(l.heartbeat + deadAfter)
	} else {
		since := later(l.heard, l.watched)
		ping = earlier(since.Add(pingAfter), l.spoke.Add(l.heartbeat))
		dead = since.Add(deadAfter)
	}
	if !l.pinged.IsZero() {
		ping = dead // one ping is enough
	}
	return ping, dead
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
