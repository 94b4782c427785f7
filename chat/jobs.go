package chat

import (
	"context"
	"time"
)

const (
	// MaxJobName bounds the names of queues, groups and consumers, in bytes: letters, digits, '-', '_' and '.'.
	MaxJobName = 64
	// MaxJobPayload bounds a job's payload, in bytes.
	MaxJobPayload = 256 << 10
	// MaxJobReason bounds why a job failed, in bytes; longer ones are cut.
	MaxJobReason = 512
	// MaxJobsTaken bounds the jobs that one Take gives.
	MaxJobsTaken = 256
)

// JobID names a job of a queue; unique in the queue, ascending in the order of Enqueue.
type JobID string

// JobGroup is a set of consumers that share the work of a queue: each job goes to one of them at a time, and every group gets
// all jobs of the queue; a new one those that are not ended by all others yet. Give the same values on every node.
type JobGroup struct {
	Queue, Group string
	// Hold is how long a consumer may work at a job before another one gets it; above 0.
	Hold time.Duration
	// Attempts is how often a job is tried at most, at least 1; after that it is a dead letter.
	Attempts int
	// BackoffMin is the wait after the first failure; it doubles with each, up to BackoffMax.
	BackoffMin, BackoffMax time.Duration
}

// Check gives an error with CodeInvalid unless the group and the consumer's name are well formed.
func (g JobGroup) Check(consumer string) error {
	invalid := func(what string) error {
		return &Error{Code: CodeInvalid, Op: "chat.JobGroup.Check", Message: what}
	}
	switch {
	case !JobName(g.Queue) || !JobName(g.Group) || !JobName(consumer):
		return invalid("a name of a queue, group or consumer is malformed")
	case g.Hold <= 0 || g.Attempts < 1:
		return invalid("a group needs a hold and at least one attempt")
	case g.BackoffMin < 0 || g.BackoffMax < g.BackoffMin:
		return invalid("the back-off is malformed")
	}
	return nil
}

// JobName says whether name may name a queue, a group or a consumer.
func JobName(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return name != "" && len(name) <= MaxJobName
}

// Backoff gives the wait before a job is tried again that has been tried that often.
func (g JobGroup) Backoff(attempts int) time.Duration {
	wait := g.BackoffMin
	for i := 1; i < attempts && wait < g.BackoffMax; i++ {
		wait *= 2
	}
	return min(wait, g.BackoffMax)
}

// Job is a job that a consumer holds.
type Job struct {
	ID      JobID
	Payload []byte
	// Attempt counts from 1.
	Attempt int
}

// DeadJob is a job that a group has given up.
type DeadJob struct {
	Job
	Reason string
	At     time.Time
}

// Jobs are queues of work that may be done later, on any node of the region, at least once: a consumer that does the same job
// twice must end alike. A job is as durable as what keeps the queue, which may be lost or come back old: what must not be
// lost has its source in the Store and is put in again from there. Safe for concurrent use.
//
// Errors: CodeInvalid for a malformed name, group or payload; CodeRegionDegraded when the queue does not answer in time;
// CodeBusy with RetryAfter when it is full; CodeUnknownOutcome when ctx ends first.
type Jobs interface {
	// Enqueue puts a job in; from then on each group of queue gets it.
	Enqueue(ctx context.Context, queue string, payload []byte) (JobID, error)
	// Take gives consumer up to limit (1 to MaxJobsTaken) jobs that nobody of the group holds: those whose wait after a failure or
	// whose hold by another is over, and new ones. If there are none it waits up to wait, then gives none.
	Take(ctx context.Context, g JobGroup, consumer string, limit int, wait time.Duration) ([]Job, error)
	// Ack ends jobs for the group; unknown ones and those already ended are no error.
	Ack(ctx context.Context, g JobGroup, ids ...JobID) error
	// Fail ends this attempt: the job is tried again after the back-off, or becomes a dead letter when job.Attempt was the last one.
	// A job that the group does not hold any more is no error.
	Fail(ctx context.Context, g JobGroup, job Job, reason string) error
	// Dead gives the group's dead letters, newest first, at most limit.
	Dead(ctx context.Context, g JobGroup, limit int) ([]DeadJob, error)
}
