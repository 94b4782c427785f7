package regionnode

import (
	"context"
	"net/http"
	"path/filepath"
	"time"

	"meridian/chat"
	"meridian/region-node/wire"
)

// BackupLine is a line of the answer to POST /v1/admin/backup: how long it has taken so far, then, with Done, what is in the directory;
// or why it ended.
type BackupLine struct {
	Region    chat.Region `json:"region"`
	Dir       string      `json:"dir"`
	RunningMs int64       `json:"running_ms"`
	Done      bool        `json:"done"`
	// Store and Applied come with Done. Applied is how far other regions' op logs were applied when the backup began.
	Store   *chat.StoreInfo   `json:"store,omitempty"`
	Applied []chat.AppliedRow `json:"applied,omitempty"`
	Error   *wire.Error       `json:"error,omitempty"`
}

// backupTell is how often who waits for a backup is told that it goes on.
const backupTell = time.Second

// serveBackup has the store write a copy of itself to the directory ?dir= of the machine that keeps its files, and tells, line by line,
// that it goes on.
func (n *Node) serveBackup(w http.ResponseWriter, r *http.Request) {
	dir, tell, began := r.URL.Query().Get("dir"), lines(w), time.Now()
	line := func() BackupLine {
		return BackupLine{Region: n.opt.Region, Dir: dir, RunningMs: time.Since(began).Milliseconds()}
	}
	type made struct {
		info    chat.StoreInfo
		applied []chat.AppliedRow
		err     error
	}
	ended := make(chan made, 1)
	go func() {
		info, applied, err := n.backup(r.Context(), dir)
		ended <- made{info, applied, err}
	}()
	ticker := time.NewTicker(backupTell)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			tell(line())
		case m := <-ended:
			last := line()
			last.Done, last.Error = true, wireError(m.err)
			if m.err == nil {
				last.Store, last.Applied = &m.info, m.applied
			}
			n.opt.Log.Info("backup", "dir", dir, "ms", last.RunningMs, "err", m.err)
			tell(last)
			return
		}
	}
}

// backup reads the positions before the copy is taken: a copy whose tables are not of one moment may hold a later position without what
// was applied up to it.
func (n *Node) backup(ctx context.Context, dir string) (info chat.StoreInfo, applied []chat.AppliedRow, err error) {
	if !filepath.IsAbs(dir) {
		return info, nil, &chat.Error{Code: chat.CodeInvalid, Op: "regionnode.backup", Message: "dir must be an absolute path on the machine that keeps the store's files"}
	}
	if applied, err = n.store.Applied(ctx); err != nil {
		return info, nil, err
	}
	if err := n.store.Checkpoint(ctx, dir); err != nil {
		return info, nil, err
	}
	info, err = n.opt.StoreInfo(ctx) // after the copy: a schema that was changed meanwhile counts
	return info, applied, err
}
