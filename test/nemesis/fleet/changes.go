package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	meridian "meridian/sdk/go"
	"meridian/test/history"
)

// Change is one edit, deletion or reaction with its place in the person's notes.
type change struct {
	history.Change
	answered bool
}

// changePause is how long a person leaves a message alone after changing it: what is asked later must also be later by clocks
// that differ.
const changePause = 5 * time.Second

var emojis = []string{"👍", "❤️", "🎉"}

// alter edits or deletes an own message, or reacts to one; called with mu and writing held. It gives what to ask for.
func (p *Person) alter(random *rand.Rand) (ask func(*meridian.Client) (string, error), ch *change) {
	now := p.fleet.now()
	if random.IntN(2) == 0 && len(p.seen) > 0 {
		m := p.seen[random.IntN(len(p.seen))]
		if !p.mayChange(m.ClientID, now) || slices.Contains(p.removed, m.ConversationID) {
			return nil, nil
		}
		emoji, on := emojis[random.IntN(len(emojis))], random.IntN(3) > 0
		return func(c *meridian.Client) (string, error) { return c.React(m.ConversationID, m.ID, emoji, on) },
			&change{Change: history.Change{Kind: history.React, By: p.ID, Target: m.ClientID, Emoji: emoji, On: on, Invoked: now}}
	}
	if len(p.own) == 0 {
		return nil, nil
	}
	s := p.own[random.IntN(len(p.own))]
	if s.Outcome != history.Acked || !p.mayChange(s.ClientID, now) || slices.Contains(p.removed, s.Group) {
		return nil, nil
	}
	if random.IntN(4) == 0 {
		return func(c *meridian.Client) (string, error) { return c.Delete(s.conversation, s.AckedID) },
			&change{Change: history.Change{Kind: history.Delete, By: p.ID, Target: s.ClientID, Invoked: now}}
	}
	text := fmt.Sprintf("%s, edited at %v", s.Text, now.Round(time.Millisecond))
	return func(c *meridian.Client) (string, error) { return c.Edit(s.conversation, s.AckedID, text) },
		&change{Change: history.Change{Kind: history.Edit, By: p.ID, Target: s.ClientID, Text: text, Invoked: now}}
}

// mayChange says whether all that the person asked for about a message was answered, some time ago, and did not delete it.
func (p *Person) mayChange(target string, now time.Duration) bool {
	for _, ch := range p.changes {
		if ch.Target == target && (!ch.answered || ch.Kind == history.Delete || now-ch.Invoked < changePause) {
			return false
		}
	}
	return true
}

// change asks for one change; true when there was one to ask for.
func (p *Person) change(random *rand.Rand) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ask, ch := p.alter(random)
	if ask == nil {
		return false
	}
	id, err := ask(p.client)
	if err != nil {
		return false // nothing was asked for
	}
	p.fleet.Asked.Add(1)
	p.changes[id] = ch
	if ch.Kind == history.Delete {
		p.fleet.delete(ch.Target)
	}
	return true
}

// delete notes that somebody asked for the deletion of a message.
func (f *Fleet) delete(clientID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted[clientID] = true
}

func (f *Fleet) isDeleted(clientID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deleted[clientID]
}

// changed notes the answer to a change; false when it was none. Called with mu held.
func (p *Person) changed(clientID string, outcome history.Outcome) bool {
	ch := p.changes[clientID]
	if ch == nil {
		return false
	}
	if outcome == history.Acked && !ch.answered {
		p.fleet.Acks.Add(1)
	}
	ch.Outcome, ch.answered = outcome, true
	return true
}

// Changes counts the edits, deletions and reactions that were acknowledged.
func (f *Fleet) Changes() (edits, deletes, reactions int) {
	counts := map[history.ChangeKind]int{}
	for _, p := range f.People {
		p.mu.Lock()
		for _, ch := range p.changes {
			if ch.Outcome == history.Acked {
				counts[ch.Kind]++
			}
		}
		p.mu.Unlock()
	}
	return counts[history.Edit], counts[history.Delete], counts[history.React]
}
