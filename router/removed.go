package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/health"
)

// served is what a router remembers of the regions that it led people to, so that its next start notices when one is missing.
type served struct {
	Region chat.Region `json:"region"`
	Admins []string    `json:"admins"`
}

// removedTimeout bounds asking a region that a new configuration leaves out.
const removedTimeout = 2 * time.Second

// checkRemoved refuses a configuration that leaves out a region in which people still are: nobody would lead them there again, and what
// waits for them there would be lost to sight. A region that does not answer has nobody. The error has CodeDenied and the figures.
func (r *Router) checkRemoved(ctx context.Context, regions []Region) error {
	if r.opts.StateFile == "" {
		return nil
	}
	text, err := os.ReadFile(r.opts.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var before []served
	if err == nil {
		err = json.Unmarshal(text, &before)
	}
	if err != nil {
		return &chat.Error{Code: chat.CodeInvalid, Op: "router.New", Message: "the regions of the last run cannot be read from " + r.opts.StateFile + "; remove the file if you know that none is missing", Cause: err}
	}
	return refuseRemoved(r.peopleIn(ctx, slices.DeleteFunc(before, func(old served) bool {
		return slices.ContainsFunc(regions, func(now Region) bool { return now.Name == old.Region })
	})), r.opts.Force)
}

// refuseRemoved gives the refusal when one of the regions that are left out, with their sockets, has people; by force none.
func refuseRemoved(sockets map[chat.Region]int, force bool) error {
	var with []string
	for region, n := range sockets {
		if n > 0 {
			with = append(with, fmt.Sprintf("%s, where %d sockets are open", region, n))
		}
	}
	if len(with) == 0 || force {
		return nil
	}
	slices.Sort(with)
	return &chat.Error{
		Code: chat.CodeDenied, Op: "router.checkRemoved",
		Message: "the configuration leaves out region " + strings.Join(with, "; region ") + ": drain it first (meridian region drain REGION --wait), or use --force",
	}
}

// remember writes the regions that this router leads people to.
func (r *Router) remember() error {
	if r.opts.StateFile == "" {
		return nil
	}
	var now []served
	for _, region := range r.view().regions {
		now = append(now, served{Region: region.Name, Admins: region.Admins})
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.opts.StateFile), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(r.opts.StateFile+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(r.opts.StateFile+".new", r.opts.StateFile)
}

// removedBy gives the regions that cfg leaves out, with the sockets that are open there.
func (r *Router) removedBy(cfg *config.Config) map[chat.Region]int {
	var out []served
	for _, old := range r.view().regions {
		if _, kept := cfg.Region(old.Name); !kept {
			out = append(out, served{Region: old.Name, Admins: old.Admins})
		}
	}
	return r.peopleIn(context.Background(), out)
}

// peopleIn asks regions that are left out how many sockets are open there.
func (r *Router) peopleIn(ctx context.Context, regions []served) map[chat.Region]int {
	sockets := make(map[chat.Region]int)
	for _, one := range regions {
		ctx, cancel := context.WithTimeout(ctx, removedTimeout)
		report, ok := health.Ask(ctx, health.Target{Region: one.Region, Admins: bases(one.Admins)})
		cancel()
		if sockets[one.Region] = report.Sockets; !ok {
			r.opts.Log.Warn("the configuration leaves out a region that does not answer", "region", one.Region)
		}
	}
	return sockets
}
