package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"meridian/chat"
)

// The methods of the calls about usernames.
const (
	MethodNames      = "verify.names"       // how many names there are in (After, UpTo], and their digest; answers whether it has the same
	MethodNamesList  = "verify.names_list"  // all names in (After, UpTo]; answers those that differ, and up to where it came
	MethodNamesAgain = "verify.names_again" // names, with zeroes for those that are not confirmed; answers those that differ
	MethodMend       = "verify.mend"        // names that differ; the region gives to others what it has, and answers those that it could not mend
)

// hashed is a chat.ClaimKey, written as a digest is.
type hashed = digest

// nameQuestion is what one region asks another about names, nameAnswer what it gets.
type nameQuestion struct {
	Zone   chat.Zone         `json:"zone,omitempty"` // "": of all
	After  hashed            `json:"after"`
	UpTo   hashed            `json:"up_to"`
	Count  int               `json:"count,omitempty"`
	Sum    digest            `json:"sum"`
	Names  map[hashed]digest `json:"names,omitempty"`
	Differ []hashed          `json:"differ,omitempty"`
}

type nameAnswer struct {
	Same    bool     `json:"same,omitempty"`
	Differ  []hashed `json:"differ,omitempty"`
	UpTo    hashed   `json:"up_to"`
	Seen    int      `json:"seen,omitempty"`
	Brought int      `json:"brought,omitempty"`
}

func keysOf(names []hashed) []chat.ClaimKey {
	keys := make([]chat.ClaimKey, len(names))
	for i, n := range names {
		keys[i] = chat.ClaimKey(n)
	}
	return keys
}

func hashedOf(keys []chat.ClaimKey) []hashed {
	names := make([]hashed, len(keys))
	for i, k := range keys {
		names[i] = hashed(k)
	}
	return names
}

func (s *Service) askNames(ctx context.Context, peer chat.Region, method string, q nameQuestion) (nameAnswer, error) {
	var a nameAnswer
	err := s.exchange(ctx, peer, method, q, &a)
	return a, err
}

// handleNames answers a question about names. Any region may ask: it has the directory itself.
func (s *Service) handleNames(ctx context.Context, method string, payload []byte) ([]byte, error) {
	var q nameQuestion
	if err := json.Unmarshal(payload, &q); err != nil || len(q.Names) > namesDiffer || len(q.Differ) > mendAtOnce {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "verify.Handle", Message: "not a question", Cause: err}
	}
	var a nameAnswer
	var err error
	switch method {
	case MethodMend:
		a = s.mend(ctx, keysOf(q.Differ))
	case MethodNamesAgain:
		a, err = s.namesAgain(ctx, &q)
	case MethodNames:
		a, err = s.sameNames(ctx, &q)
	default:
		a, err = s.listNames(ctx, &q)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

// eachPage walks through the pages of names confirmed here in (q.After, q.UpTo], until more says no.
func (s *Service) eachPage(ctx context.Context, q *nameQuestion, more func(page map[hashed]digest) bool) error {
	for after := chat.ClaimKey(q.After); bytes.Compare(after[:], q.UpTo[:]) < 0; {
		page, upTo, err := s.names(ctx, q.Zone, after)
		if err != nil {
			return err
		}
		maps.DeleteFunc(page, func(name hashed, _ digest) bool { return beyond(name, q.UpTo) })
		if !more(page) {
			return nil
		}
		after = upTo
	}
	return nil
}

func beyond(name, upTo hashed) bool { return bytes.Compare(name[:], upTo[:]) > 0 }

// sameNames says whether this region has exactly the names that the digest is of; it reads hardly more than those.
func (s *Service) sameNames(ctx context.Context, q *nameQuestion) (a nameAnswer, err error) {
	var sum digest
	err = s.eachPage(ctx, q, func(page map[hashed]digest) bool {
		sum.add(sumOf(page))
		a.Seen += len(page)
		return a.Seen <= q.Count
	})
	a.Same = a.Seen == q.Count && sum == q.Sum
	return a, err
}

// listNames gives the first of the names in (q.After, q.UpTo] that differ, and up to where that is; Seen counts those that
// either of the two has.
func (s *Service) listNames(ctx context.Context, q *nameQuestion) (a nameAnswer, err error) {
	either, missing, differ := map[hashed]digest{}, map[hashed]digest{}, map[hashed]bool{}
	maps.Copy(either, q.Names)
	maps.Copy(missing, q.Names) // here
	err = s.eachPage(ctx, q, func(page map[hashed]digest) bool {
		for name, d := range page {
			if q.Names[name] != d {
				differ[name] = true
			}
			delete(missing, name)
		}
		maps.Copy(either, page)
		return len(differ) < namesDiffer
	})
	for name := range missing {
		differ[name] = true
	}
	a.Differ, a.UpTo = slices.SortedFunc(maps.Keys(differ), compareHashed), q.UpTo
	if len(a.Differ) >= namesDiffer { // what comes after may not have been read
		a.Differ = a.Differ[:namesDiffer]
		a.UpTo = a.Differ[namesDiffer-1]
	}
	for name := range either {
		if !beyond(name, a.UpTo) {
			a.Seen++
		}
	}
	return a, err
}

// namesAgain gives those of the names that are not as the other region has them.
func (s *Service) namesAgain(ctx context.Context, q *nameQuestion) (a nameAnswer, err error) {
	for _, name := range slices.SortedFunc(maps.Keys(q.Names), compareHashed) {
		d, err := s.nameHere(ctx, q.Zone, chat.ClaimKey(name))
		if err != nil {
			return a, err
		}
		if d != q.Names[name] {
			a.Differ = append(a.Differ, name)
		}
	}
	return a, nil
}

func compareHashed(a, b hashed) int { return bytes.Compare(a[:], b[:]) }
