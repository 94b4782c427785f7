// Package verify compares what the regions of a zone hold of its people, and repairs what differs. Two regions exchange
// digests, by owner and day, never what they stand for. Where digests differ each region brings its own rows to all regions
// of the zone, by an op that every one of them checks as it checks any other: nobody can ask for somebody's mailbox.
//
// The directory of usernames is in every region, whatever its zones: there the confirmed entries are compared, which say no more
// to one region than to another.
package verify

import (
	"context"
	"log/slog"
	"time"

	"meridian/chat"
)

// Remote asks another region. Errors are of type *chat.Error.
type Remote interface {
	Call(ctx context.Context, region chat.Region, method string, payload []byte) ([]byte, error)
}

// Submitter originates ops and waits until they are durable here.
type Submitter interface {
	Submit(ctx context.Context, op chat.Op) (chat.Op, error)
}

// Directory gives what is confirmed here of a username to the regions that lack it. Errors are as of auth.Service.Mend.
type Directory interface {
	Mend(ctx context.Context, key chat.ClaimKey) (found bool, brought int, err error)
}

// Options make a Service.
type Options struct {
	Self      chat.Region
	Topology  chat.Topology
	Store     chat.Store
	Remote    Remote
	Submitter Submitter
	Directory Directory
	Now       func() time.Time
	// Wait waits so long before a difference is looked at again, true unless ctx ended meanwhile; default: by the clock.
	Wait func(ctx context.Context, d time.Duration) bool
	Log  *slog.Logger
}

// Service compares and repairs. It is safe for concurrent use.
type Service struct{ opt Options }

// New makes a Service.
func New(opt Options) *Service {
	if opt.Wait == nil {
		opt.Wait = wait
	}
	return &Service{opt: opt}
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// Report is what a comparison of this region with another one showed.
type Report struct {
	Region chat.Region `json:"region"`
	Peer   chat.Region `json:"peer"`
	Zone   chat.Zone   `json:"zone"`
	// Owners counts the mailboxes compared; Differ those that hold something else, and Days the days of theirs that do.
	Owners int `json:"owners"`
	Differ int `json:"differ"`
	Days   int `json:"days"`
	// Brought counts the rows that the two regions brought to all of the zone.
	Brought int   `json:"brought"`
	TookMs  int64 `json:"took_ms"`
}

// ownersPage is how many owners are compared at once.
const ownersPage = 100

// What is under way differs for a moment, so a difference counts when it is still there after tries looks, tryAgain apart.
const (
	tries    = 4
	tryAgain = 1500 * time.Millisecond
)

// Compare compares zone with peer, and repairs what differs if repair is set. Errors: CodeInvalid when zone or peer are not
// such that both regions serve the zone; those of the store and of the link.
func (s *Service) Compare(ctx context.Context, zone chat.Zone, peer chat.Region, repair bool, progress func(Report)) (Report, error) {
	began := s.opt.Now()
	report := Report{Region: s.opt.Self, Peer: peer, Zone: zone}
	if t := s.opt.Topology; peer == s.opt.Self || !t.InZone(peer, zone) || !t.InZone(s.opt.Self, zone) {
		return report, &chat.Error{Code: chat.CodeInvalid, Op: "verify.Compare", Message: "regions " + string(s.opt.Self) + " and " + string(peer) + " do not both serve zone " + string(zone)}
	}
	for after, more := chat.NoUser, true; more; {
		page, upTo, last, err := s.page(ctx, zone, after)
		if err != nil {
			return report, err
		}
		differ, seen, err := s.differing(ctx, zone, peer, after, upTo, page)
		if err != nil {
			return report, err
		}
		report.Owners += seen
		if err := s.settle(ctx, &report, differ, repair); err != nil {
			return report, err
		}
		after, more = upTo, !last
		report.TookMs = s.opt.Now().Sub(began).Milliseconds()
		if progress != nil {
			progress(report)
		}
	}
	return report, nil
}

// settle looks at owners again until what was under way has arrived, and repairs what differs still.
func (s *Service) settle(ctx context.Context, report *Report, owners []chat.UserID, repair bool) error {
	differ := map[chat.UserID][]day{}
	for try := 0; try < tries && len(owners) > 0; try++ {
		if try > 0 && !s.opt.Wait(ctx, tryAgain) {
			return &chat.Error{Code: chat.CodeRegionDegraded, Op: "verify.Compare", Message: "the comparison was ended", Cause: ctx.Err()}
		}
		var still []chat.UserID
		for _, owner := range owners {
			days, err := s.differingDays(ctx, report.Zone, report.Peer, owner)
			if err != nil {
				return err
			}
			if len(days) > 0 {
				still = append(still, owner)
				differ[owner] = days
			}
		}
		owners = still
	}
	for _, owner := range owners {
		report.Differ++
		report.Days += len(differ[owner])
		if !repair {
			continue
		}
		if err := s.repair(ctx, report, owner, differ[owner]); err != nil {
			return err
		}
	}
	if len(owners) > 0 {
		s.opt.Log.Warn("mailboxes differ between two regions", "zone", report.Zone, "peer", report.Peer, "mailboxes", len(owners), "repair", repair)
	}
	return nil
}

// repair has both regions bring what they hold of an owner's days to all of the zone.
func (s *Service) repair(ctx context.Context, report *Report, owner chat.UserID, days []day) error {
	mine, err := s.bring(ctx, report.Zone, owner, days)
	report.Brought += mine
	if err != nil {
		return err
	}
	theirs, err := s.askToBring(ctx, report.Zone, report.Peer, owner, days)
	report.Brought += theirs
	return err
}
