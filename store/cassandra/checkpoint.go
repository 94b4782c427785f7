package cassandra

import (
	"context"
	"os"

	"meridian/chat"
)

// Checkpoint implements chat.Store, by what the deployment gives to take a snapshot of each node of the cluster: the files are theirs, not
// this process's. The error has CodeInvalid when dir exists or no way to take one is configured.
func (s *Store) Checkpoint(ctx context.Context, dir string) error {
	const op = "cassandra.Checkpoint"
	if err := s.ready(op); err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: dir + " exists"}
	}
	if s.opts.Snapshot == nil {
		return &chat.Error{Code: chat.CodeInvalid, Op: op, Message: "no way to take a snapshot of the cluster's nodes is configured: set snapshot_command in the region's section cassandra; config/examples/real-stores.yaml shows it"}
	}
	if err := s.opts.Snapshot(ctx, s.opts.Keyspace, dir); err != nil {
		return &chat.Error{Code: chat.CodeRegionDegraded, Op: op, Message: "the snapshot was not taken: " + err.Error(), RetryAfter: retryAfter}
	}
	return nil
}
