package meridian

import (
	"slices"
	"time"
)

const (
	// avoidFor is how long an endpoint that failed is passed over while another one is left.
	avoidFor = 30 * time.Second
	// stepMax bounds the random wait before the next endpoint of the list is tried.
	stepMax = time.Second
	// backOffMin and backOffMax bound the wait when every endpoint has failed: full jitter.
	backOffMin = 500 * time.Millisecond
	backOffMax = 20 * time.Second
	// stableAfter is how long a link must hold to clear the count of failures: who loses one after that begins anew with short steps,
	// however long everything was away before it; a server that takes links and drops them at once is spared.
	stableAfter = 2 * time.Second
)

// endpoints is the list of regions, best first, and what failed of it.
type endpoints struct {
	list     []Endpoint
	failedAt map[string]time.Time // by URL
	failures int                  // since the last stable link
	silent   map[string]time.Time // when a region could not be reached, or went without a word
}

func newEndpoints(list []Endpoint) *endpoints {
	return &endpoints{list: list, failedAt: map[string]time.Time{}, silent: map[string]time.Time{}}
}

// endpointsMax bounds the list.
const endpointsMax = 32

// replace takes a list that alone is right; an empty one changes nothing.
func (e *endpoints) replace(list []Endpoint) {
	if len(list) > 0 {
		e.list = list
	}
}

// prefer takes a newer list. What was known before stays behind it: a region names those that serve now, and one that is down
// at that moment may be the only one left later.
func (e *endpoints) prefer(list []Endpoint) {
	if len(list) == 0 {
		return
	}
	merged := slices.Clone(list)
	for _, old := range e.list {
		same := func(ep Endpoint) bool { return ep.URL == old.URL }
		if len(merged) < endpointsMax && !slices.ContainsFunc(merged, same) {
			merged = append(merged, old)
		}
	}
	e.list = merged
}

// pick gives the best endpoint that has not failed lately; when all have, the one whose failure is oldest.
func (e *endpoints) pick(now time.Time) (best Endpoint, ok bool) {
	for i, ep := range e.list {
		failed, bad := e.failedAt[ep.URL]
		if !bad || now.Sub(failed) >= avoidFor {
			return ep, true
		}
		if i == 0 || failed.Before(e.failedAt[best.URL]) {
			best, ok = ep, true
		}
	}
	return best, ok
}

// fail notes a failure of url and gives how long to wait before the next try; jitter is in [0, 1).
func (e *endpoints) fail(url string, now time.Time, jitter float64) time.Duration {
	if url != "" {
		e.failedAt[url] = now
	}
	e.failures++
	return wait(e.failures, len(e.list), jitter)
}

// silentNow gives the regions, other than the one that is asked now, that could not be reached of late, sorted: it is told to the next
// one, so that probes look there soon.
func (e *endpoints) silentNow(now time.Time, asked string) []string {
	var out []string
	for region, at := range e.silent {
		switch {
		case now.Sub(at) >= avoidFor:
			delete(e.silent, region)
		case region != asked && region != "":
			out = append(out, region)
		}
	}
	slices.Sort(out)
	return out
}

// avoidRegion notes that what failed is more than one endpoint: a region that is silent, or takes no sends, is passed over
// with all its nodes while another one is left.
func (e *endpoints) avoidRegion(region string, now time.Time) {
	for _, ep := range e.list {
		if ep.Region == region {
			e.failedAt[ep.URL] = now
		}
	}
}

// wait is the pause after so many failures in a row: a short step while the list has endpoints that were not tried, then full
// jitter that doubles.
func wait(failures, endpoints int, jitter float64) time.Duration {
	if failures <= endpoints {
		return time.Duration(jitter * float64(stepMax))
	}
	limit := backOffMin
	for range min(failures-endpoints-1, 10) {
		limit = min(limit*2, backOffMax)
	}
	return time.Duration(jitter * float64(limit))
}

// worked notes a link that held for stableAfter.
func (e *endpoints) worked(url string) {
	e.failures = 0
	delete(e.failedAt, url)
}

// exhausted says that every endpoint of the list has failed lately.
func (e *endpoints) exhausted(now time.Time) bool {
	for _, ep := range e.list {
		if failed, bad := e.failedAt[ep.URL]; !bad || now.Sub(failed) >= avoidFor {
			return false
		}
	}
	return true
}
