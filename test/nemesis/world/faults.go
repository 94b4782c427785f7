package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"meridian/chat"
	"meridian/test/nemesis/netns"
)

// ErrNotHere says that this machine cannot do a fault.
var ErrNotHere = errors.New("not possible on this machine")

// CutRegions lets nothing through from one region to another any more, and with bothWays nothing back.
func (w *World) CutRegions(from, to chat.Region, bothWays bool) error {
	if w.net == nil {
		if !bothWays {
			return ErrNotHere
		}
		return errors.Join(w.cutByAdmin("cut", from, to), w.cutByAdmin("cut", to, from))
	}
	var failed error
	for _, a := range w.NodesOf(from) {
		for _, b := range w.NodesOf(to) {
			failed = errors.Join(failed, w.net.Cut(w.hosts[a], w.hosts[b]))
			if bothWays {
				failed = errors.Join(failed, w.net.Cut(w.hosts[b], w.hosts[a]))
			}
		}
	}
	return failed
}

// CutNodes lets nothing through between two nodes.
func (w *World) CutNodes(a, b chat.NodeRef) error {
	if w.net == nil {
		return ErrNotHere
	}
	return errors.Join(w.net.Cut(w.hosts[a], w.hosts[b]), w.net.Cut(w.hosts[b], w.hosts[a]))
}

// Isolate cuts a region off from everybody: the other regions and all people.
func (w *World) Isolate(region chat.Region) error {
	if w.net == nil {
		return ErrNotHere
	}
	var failed error
	for _, inside := range w.ProcessesOf(region) {
		others := []*netns.Host{w.net.Outside()}
		for _, ref := range w.Processes() {
			if ref.Region != region {
				others = append(others, w.hosts[ref])
			}
		}
		for _, other := range others {
			failed = errors.Join(failed, w.net.Cut(w.hosts[inside], other), w.net.Cut(other, w.hosts[inside]))
		}
	}
	return failed
}

// Heal mends every cut.
func (w *World) Heal() error {
	if w.net != nil {
		return w.net.Heal()
	}
	var failed error
	for _, a := range Regions() {
		for _, b := range Regions() {
			if a != b {
				failed = errors.Join(failed, w.cutByAdmin("heal", a, b))
			}
		}
	}
	return failed
}

func (w *World) cutByAdmin(verb string, region, peer chat.Region) error {
	var failed error
	for _, ref := range w.NodesOf(region) {
		if w.Running(ref) {
			_, err := w.Admin(ref, http.MethodPost, "/v1/admin/"+verb+"?peer="+url.QueryEscape(string(peer)))
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// SetClock makes a running node's clock wrong by offset; 0 makes it right.
func (w *World) SetClock(ref chat.NodeRef, offset time.Duration) error {
	_, err := w.Admin(ref, http.MethodPost, "/v1/admin/clock?offset="+url.QueryEscape(offset.String()))
	return err
}

// adminTimeout bounds one call to an admin listener.
const adminTimeout = 20 * time.Second

// Admin makes a call to a node's admin listener with the admin token.
func (w *World) Admin(ref chat.NodeRef, method, path string) (string, error) {
	token, err := os.ReadFile(filepath.Join(w.Config.SecretsPath(), "admin.token"))
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+w.addresses(ref.Region, ref.Node)["admin"]+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s %s at %s: %s %s", method, path, ref, answer.Status, body)
	}
	return string(body), err
}

// mountSmallDisk puts the region's data on a file system of a limited size, in memory.
func (w *World) mountSmallDisk() error {
	dir := w.DataDir(w.plan.SmallDisk)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", SmallDiskBytes)); err != nil {
		return err
	}
	w.disk = dir
	return nil
}

func (w *World) unmountSmallDisk() {
	if err := syscall.Unmount(w.disk, syscall.MNT_DETACH); err != nil {
		w.plan.Log("the small disk at %s stays mounted: %v", w.disk, err)
	}
}

const ballast = "ballast"

// FillDisk fills the small disk until only leave bytes are free.
func (w *World) FillDisk(leave int64) error {
	if w.disk == "" {
		return ErrNotHere
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(w.disk, &fs); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(w.disk, ballast), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() // what is written stands, also without
	piece := make([]byte, 64<<10)
	for left := int64(fs.Bavail)*fs.Bsize - leave; left > 0; left -= int64(len(piece)) {
		if _, err := f.Write(piece[:min(left, int64(len(piece)))]); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return nil // fuller than asked for: the node wrote too
			}
			return err
		}
	}
	return nil
}

// EmptyDisk takes away what FillDisk put there.
func (w *World) EmptyDisk() error { return os.Remove(filepath.Join(w.disk, ballast)) }

// Destroy removes what a region had on its disk; its processes must have ended.
func (w *World) Destroy(region chat.Region) error { return os.RemoveAll(w.DataDir(region)) }
