package drain

import (
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"meridian/chat"
)

const (
	// ForceMax bounds the time for which a region may be forced.
	ForceMax = 7 * 24 * time.Hour
	// ReasonBytesMax bounds the text of a reason, and of who gave it.
	ReasonBytesMax = 200
)

// Force takes the operator's word about a region: to count as down or up until its Until, or, with chat.ForceNone, as it is. A word that
// was given nowhere before gets the time; one that another region has taken keeps its own. It gives the word as it is kept; the error has CodeInvalid.
func (s *Service) Force(region chat.Region, word chat.Force) (chat.Force, error) {
	s.mu.Lock()
	now := s.opt.Now().UTC()
	if word.State == chat.ForceNone {
		word.Until = now.Add(ForceMax) // what it takes back is over by then
	}
	if err := s.checkForce(region, word, now); err != nil {
		s.mu.Unlock()
		return word, err
	}
	if word.Given.IsZero() {
		word.Given = now
		for _, words := range s.forces { // some clock may be ahead
			if old := words[region]; !word.After(old) {
				word.Given = old.Given.Add(time.Millisecond)
			}
		}
	}
	err := s.takeForce(region, word, now)
	s.mu.Unlock()
	if err == nil {
		s.tell()
	}
	return word, err
}

func (s *Service) checkForce(region chat.Region, word chat.Force, now time.Time) error {
	invalid := func(format string, args ...any) error {
		return &chat.Error{Code: chat.CodeInvalid, Op: "drain.Force", Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case !slices.Contains(s.opt.Regions, region):
		return invalid("%q is not a region", region)
	case word.State != chat.ForceNone && word.State != chat.ForceUp && word.State != chat.ForceDown:
		return invalid("%q is not a state; allowed: up, down", word.State)
	case !word.Until.After(now) || word.Until.After(now.Add(ForceMax)):
		return invalid("until must lie after now and within %s", ForceMax)
	case word.Given.After(now.Add(ForceMax)):
		return invalid("the word was given in the future")
	case word.State != chat.ForceNone && word.Reason == "":
		return invalid("a reason is needed")
	case !line(word.Reason) || !line(word.By):
		return invalid("reason and by are lines of at most %d bytes", ReasonBytesMax)
	}
	return nil
}

// line says that a text is one short line.
func line(text string) bool {
	if len(text) > ReasonBytesMax || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// takeForce makes a word this region's, and keeps it. The mutex is held.
func (s *Service) takeForce(region chat.Region, word chat.Force, now time.Time) error {
	before := maps.Clone(s.forces[s.opt.Self])
	if !s.forces.Take(s.opt.Self, region, word) {
		return nil // it is known, or a later one
	}
	maps.DeleteFunc(s.forces[s.opt.Self], func(_ chat.Region, old chat.Force) bool { return !old.Until.After(now) })
	if err := s.keep(s.orders[s.opt.Self]); err != nil {
		s.forces[s.opt.Self] = before
		return err
	}
	s.opt.Log.Warn("a region is forced", "region", region, "state", string(word.State), "until", word.Until, "by", word.By, "reason", word.Reason)
	return nil
}

// hearForces takes what a node told of its region's operator. The mutex is held.
func (s *Service) hearForces(from chat.Region, words map[chat.Region]chat.Force) {
	now := s.opt.Now()
	for _, region := range s.opt.Regions {
		word, told := words[region]
		if !told || s.checkForce(region, word, now) != nil {
			continue
		}
		if from != s.opt.Self {
			s.forces.Take(from, region, word)
		} else if err := s.takeForce(region, word, now); err != nil { // another node of this region
			s.opt.Log.Error("what is forced is not kept", "err", err)
		}
	}
}

// Forces gives what the operators of all regions have forced, as this node has heard it.
func (s *Service) Forces() chat.Forces {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forces.Clone()
}

// Forced gives the word about a region that counts now, and who tells it.
func (s *Service) Forced(region chat.Region) (word chat.Force, by []chat.Region, ok bool) {
	return s.Forces().About(region, s.opt.Regions, s.opt.Now())
}
