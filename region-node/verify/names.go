package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"meridian/chat"
)

// NamesReport is what a comparison of this region's usernames with another one's showed.
type NamesReport struct {
	Region chat.Region `json:"region"`
	Peer   chat.Region `json:"peer"`
	// Zone is whose names were compared; "": all.
	Zone chat.Zone `json:"zone,omitempty"`
	// Names counts the names compared; Differ those that one of the two lacks or has for another sign-up.
	Names  int `json:"names"`
	Differ int `json:"differ"`
	// Brought counts the entries that regions were given; Left the names that differ all the same, and wait for an operator.
	Brought int   `json:"brought"`
	Left    int   `json:"left"`
	TookMs  int64 `json:"took_ms"`
}

const (
	// namesPage is how many names are compared at once.
	namesPage = 500
	// namesDiffer bounds the names that one answer tells of.
	namesDiffer = 1000
	// mendAtOnce is how many names one call has mended, all at the same time.
	mendAtOnce = 100
)

// lastName is after all names.
var lastName = chat.ClaimKey(bytes.Repeat([]byte{0xff}, len(chat.ClaimKey{})))

// CompareNames compares the directory with peer's: what is confirmed of the zone's names, or of all when zone is "". With repair
// set, what differs is mended. Errors: CodeInvalid for a peer that is none; those of the store and of the link.
func (s *Service) CompareNames(ctx context.Context, zone chat.Zone, peer chat.Region, repair bool, progress func(NamesReport)) (NamesReport, error) {
	began := s.opt.Now()
	report := NamesReport{Region: s.opt.Self, Peer: peer, Zone: zone}
	if peer == s.opt.Self || !slices.Contains(s.opt.Topology.Regions, peer) {
		return report, &chat.Error{Code: chat.CodeInvalid, Op: "verify.CompareNames", Message: "region " + string(peer) + " is not another one of this deployment"}
	}
	for after := (chat.ClaimKey{}); after != lastName; {
		differ, upTo, err := s.namesFrom(ctx, &report, after)
		if err != nil {
			return report, err
		}
		if err := s.settleNames(ctx, &report, differ, repair); err != nil {
			return report, err
		}
		after = upTo
		report.TookMs = s.opt.Now().Sub(began).Milliseconds()
		if progress != nil {
			progress(report)
		}
	}
	return report, nil
}

// namesFrom compares the next names after one, and gives those that differ and up to where it came. Where all is alike one
// digest says so.
func (s *Service) namesFrom(ctx context.Context, report *NamesReport, after chat.ClaimKey) (differ []chat.ClaimKey, upTo chat.ClaimKey, err error) {
	mine, upTo, err := s.names(ctx, report.Zone, after)
	if err != nil {
		return nil, upTo, err
	}
	q := nameQuestion{Zone: report.Zone, After: hashed(after), UpTo: hashed(upTo), Count: len(mine), Sum: sumOf(mine)}
	a, err := s.askNames(ctx, report.Peer, MethodNames, q)
	if err != nil || a.Same {
		report.Names += a.Seen
		return nil, upTo, err
	}
	q.Names = mine
	if a, err = s.askNames(ctx, report.Peer, MethodNamesList, q); err != nil {
		return nil, upTo, err
	}
	if bytes.Compare(a.UpTo[:], after[:]) <= 0 || bytes.Compare(a.UpTo[:], upTo[:]) > 0 {
		return nil, upTo, &chat.Error{Code: chat.CodeInvalid, Op: "verify.CompareNames", Message: "not an answer: it does not go on"}
	}
	report.Names += a.Seen
	return keysOf(a.Differ), chat.ClaimKey(a.UpTo), nil
}

// names gives the digests of the confirmed names of zone (or all) here after one, of a page, and up to where that reaches.
func (s *Service) names(ctx context.Context, zone chat.Zone, after chat.ClaimKey) (map[hashed]digest, chat.ClaimKey, error) {
	rows, err := s.opt.Store.Claims(ctx, after, namesPage)
	upTo := lastName
	if len(rows) == namesPage {
		upTo = rows[namesPage-1].Key
	}
	page := map[hashed]digest{}
	for i := range rows {
		if c := &rows[i]; !c.Pending && (zone == "" || c.Zone == zone) {
			page[hashed(c.Key)] = digestOf(c)
		}
	}
	return page, upTo, err
}

// digestOf gives the digest of a confirmed entry.
func digestOf(c *chat.Claim) digest {
	b := append(c.Key[:], c.Blinded[:]...)
	b = append(append(b, c.Attempt[:]...), c.Zone...)
	b = binary.BigEndian.AppendUint16(b, c.Bucket)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(c.Version)))
}

func sumOf(names map[hashed]digest) (sum digest) {
	for _, d := range names {
		sum.add(d)
	}
	return sum
}

// settleNames looks at names again until what was under way has arrived, and mends what differs still.
func (s *Service) settleNames(ctx context.Context, report *NamesReport, keys []chat.ClaimKey, repair bool) (err error) {
	for try := 1; try < tries && len(keys) > 0; try++ {
		select {
		case <-ctx.Done():
			return &chat.Error{Code: chat.CodeRegionDegraded, Op: "verify.CompareNames", Message: "the comparison was ended", Cause: ctx.Err()}
		case <-time.After(tryAgain):
		}
		if keys, err = s.stillDiffer(ctx, report, keys); err != nil {
			return err
		}
	}
	if len(keys) == 0 {
		return nil
	}
	report.Differ += len(keys)
	if repair {
		if err := s.mendNames(ctx, report, keys); err != nil {
			return err
		}
		if keys, err = s.stillDiffer(ctx, report, keys); err != nil {
			return err
		}
	}
	report.Left += len(keys)
	s.opt.Log.Warn("usernames differ between two regions", "peer", report.Peer, "differ", report.Differ, "left", report.Left, "repair", repair)
	return nil
}

// stillDiffer gives those of the keys whose entries differ now.
func (s *Service) stillDiffer(ctx context.Context, report *NamesReport, keys []chat.ClaimKey) ([]chat.ClaimKey, error) {
	q := nameQuestion{Zone: report.Zone, Names: map[hashed]digest{}}
	for _, key := range keys {
		d, err := s.nameHere(ctx, report.Zone, key)
		if err != nil {
			return nil, err
		}
		q.Names[hashed(key)] = d
	}
	a, err := s.askNames(ctx, report.Peer, MethodNamesAgain, q)
	return keysOf(a.Differ), err
}

// nameHere gives the digest of a name as it is confirmed here, and zeroes for one that is not.
func (s *Service) nameHere(ctx context.Context, zone chat.Zone, key chat.ClaimKey) (d digest, err error) {
	c, ok, err := s.opt.Store.Claim(ctx, key)
	if err == nil && ok && !c.Pending && (zone == "" || c.Zone == zone) {
		d = digestOf(&c)
	}
	return d, err
}

// mendNames has names mended: by this region what it has and may speak for, the rest by peer, and what is of neither's zones by
// another region that answers.
func (s *Service) mendNames(ctx context.Context, report *NamesReport, keys []chat.ClaimKey) error {
	two := []chat.Region{s.opt.Self, report.Peer}
	others := slices.DeleteFunc(slices.Clone(s.opt.Topology.Regions), func(r chat.Region) bool { return slices.Contains(two, r) })
	for _, region := range slices.Concat(two, others) {
		var rest []chat.ClaimKey
		for part := range slices.Chunk(keys, mendAtOnce) {
			a, err := s.askToMend(ctx, region, part)
			if err != nil && region == report.Peer {
				return err
			}
			report.Brought += a.Brought
			rest = append(rest, keysOf(a.Differ)...)
		}
		keys = rest
	}
	return nil
}

// askToMend has a region mend names. Where it does not answer, they are left to another one.
func (s *Service) askToMend(ctx context.Context, region chat.Region, keys []chat.ClaimKey) (nameAnswer, error) {
	if region == s.opt.Self {
		return s.mend(ctx, keys), nil
	}
	a, err := s.askNames(ctx, region, MethodMend, nameQuestion{Differ: hashedOf(keys)})
	if err != nil {
		a = nameAnswer{Differ: hashedOf(keys)}
	}
	return a, err
}

// mend gives other regions what is confirmed here of the names; the answer's Differ are those that another region has to mend.
func (s *Service) mend(ctx context.Context, keys []chat.ClaimKey) (a nameAnswer) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, key := range keys {
		all.Go(func() {
			found, brought, err := s.opt.Directory.Mend(ctx, key)
			mu.Lock()
			defer mu.Unlock()
			a.Brought += brought
			if !found || err != nil {
				a.Differ = append(a.Differ, hashed(key))
			}
		})
	}
	all.Wait()
	return a
}
