package main

import (
	"fmt"
	"time"

	"meridian/front"
	regionnode "meridian/region-node"
)

const certificateRunbook = "runbooks/certificate-ends.md"

// addCertificates gives a region, of each name, the certificate among its nodes' that is worst off: they may have different ones.
func addCertificates(state *regionState, answers []*regionnode.Status) {
	if state.Status == nil {
		return
	}
	var all []front.Certificate
	at := make(map[string]int)
	for _, a := range answers {
		if a == nil {
			continue
		}
		for _, c := range a.Certificates {
			if i, known := at[c.Name]; !known {
				at[c.Name] = len(all)
				all = append(all, c)
			} else if worse(c, all[i]) {
				all[i] = c
			}
		}
	}
	state.Status.Certificates = all
}

// worse says whether somebody should look at a before b: there is none, or it ends first, or it could not be replaced.
func worse(a, b front.Certificate) bool {
	if !a.Ends.Equal(b.Ends) {
		return a.Ends.Before(b.Ends)
	}
	return a.Error != "" && b.Error == ""
}

// certificateProblems are of certificates that near their end, and of what is there to replace them and cannot.
func certificateProblems(r regionState, now time.Time) []problem {
	var found []problem
	unusable := ""
	for _, c := range r.Status.Certificates {
		if c.Ends.IsZero() {
			found = append(found, problem{86, fmt.Sprintf("region %s has no certificate for %s from the ACME server: %s", r.Region, c.Name, c.Error), certificateRunbook})
			continue
		}
		if c.Error != "" && c.Error != unusable {
			unusable = c.Error
			found = append(found, problem{57, fmt.Sprintf("new certificates of region %s cannot be used, the old ones stay: %s", r.Region, c.Error), certificateRunbook})
		}
		if alarm := c.Alarm(now); alarm > front.EndsLater {
			rank := map[front.Alarm]int{front.EndsSoon: 58, front.EndsVerySoon: 86, front.HasEnded: 95}[alarm]
			found = append(found, problem{rank, fmt.Sprintf("the certificate of %s at region %s %s", c.Name, r.Region, endOf(c, now)), certificateRunbook})
		}
	}
	return found
}

// endOf says when a certificate ends, as people read it.
func endOf(c front.Certificate, now time.Time) string {
	at := c.Ends.UTC().Format("2006-01-02 15:04 UTC")
	left := c.Ends.Sub(now)
	switch {
	case left <= 0:
		return "has ended, on " + at
	case left >= 48*time.Hour:
		return fmt.Sprintf("ends in %d days, on %s", int(left/(24*time.Hour)), at)
	}
	return fmt.Sprintf("ends in %s, on %s", left.Round(time.Minute), at)
}
