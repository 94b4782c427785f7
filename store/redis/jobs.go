package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"meridian/chat"
)

const (
	// maxDead bounds the dead letters of a group, roughly; the oldest go first.
	maxDead = "10000"
	// takeLook is how often a waiting Take looks for jobs whose wait or hold is over.
	takeLook = 250 * time.Millisecond
)

// Jobs is a chat.Jobs on Redis Streams, one for each queue. They are as durable as the server's own files.
type Jobs struct{ c *Client }

// Jobs gives the client's.
func (c *Client) Jobs() *Jobs { return &Jobs{c} }

// keys gives the keys of a group: see jobs_scripts.go.
func (j *Jobs) keys(queue, group string) []string {
	stream := j.c.prefix + "j:{" + queue + "}"
	of := stream + ":" + group
	return []string{stream, of + ":w", of + ":d", of + ":c"}
}

// Enqueue is chat.Jobs's.
func (j *Jobs) Enqueue(ctx context.Context, queue string, payload []byte) (chat.JobID, error) {
	if !chat.JobName(queue) || len(payload) > chat.MaxJobPayload {
		return "", &chat.Error{Code: chat.CodeInvalid, Op: "redis.Jobs.Enqueue", Message: "the queue's name is malformed, or the payload too large"}
	}
	var id string
	full := false
	err := j.c.call(ctx, "enqueue", func(ctx context.Context, conn rueidis.Client) (err error) {
		args := []string{strconv.Itoa(j.c.opt.MaxJobs), rueidis.BinaryString(payload)}
		id, err = enqueueScript.Exec(ctx, conn, j.keys(queue, "")[:1], args).ToString()
		full = rueidis.IsRedisNil(err)
		return err
	})
	if err == nil && full {
		err = &chat.Error{Code: chat.CodeBusy, Op: "redis.Jobs.Enqueue", Message: "the queue is full", RetryAfter: time.Second}
	}
	return chat.JobID(id), err
}

// Take is chat.Jobs's.
func (j *Jobs) Take(ctx context.Context, g chat.JobGroup, consumer string, limit int, wait time.Duration) ([]chat.Job, error) {
	if err := g.Check(consumer); err != nil {
		return nil, err
	}
	limit = min(max(limit, 1), chat.MaxJobsTaken)
	deadline := time.Now().Add(wait)
	for {
		jobs, last, err := j.take(ctx, g, consumer, limit)
		left := time.Until(deadline)
		if err != nil || len(jobs) > 0 || left <= 0 {
			return jobs, err
		}
		if err := j.await(ctx, g.Queue, last, min(left, takeLook)); err != nil {
			return nil, err
		}
	}
}

func (j *Jobs) take(ctx context.Context, g chat.JobGroup, consumer string, limit int) (jobs []chat.Job, last string, err error) {
	args := []string{g.Group, consumer, strconv.Itoa(limit), ms(g.Hold), strconv.Itoa(g.Attempts), maxDead}
	err = j.c.call(ctx, "take", func(ctx context.Context, conn rueidis.Client) error {
		reply, err := takeJobsScript.Exec(ctx, conn, j.keys(g.Queue, g.Group), args).ToArray()
		if err != nil {
			return err
		}
		jobs = make([]chat.Job, 0, len(reply)/3)
		for ; len(reply) > 3; reply = reply[3:] {
			job := chat.Job{}
			id, err := reply[0].ToString()
			if err == nil {
				job.Payload, err = reply[1].AsBytes()
			}
			if err != nil {
				return err
			}
			attempt, err := reply[2].AsInt64()
			if err != nil {
				return err
			}
			job.ID, job.Attempt = chat.JobID(id), int(attempt)
			jobs = append(jobs, job)
		}
		last, err = reply[0].ToString()
		return err
	})
	return jobs, last, err
}

// await waits until the stream has more than last, or the time is over.
func (j *Jobs) await(ctx context.Context, queue, last string, wait time.Duration) error {
	wait = max(wait, time.Millisecond)
	return j.c.timed(ctx, "await", wait+j.c.opt.Timeout, func(ctx context.Context, conn rueidis.Client) error {
		return conn.Do(ctx, conn.B().Xread().Count(1).Block(wait.Milliseconds()).Streams().Key(j.keys(queue, "")[0]).Id(last).Build()).Error()
	})
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Ack is chat.Jobs's.
func (j *Jobs) Ack(ctx context.Context, g chat.JobGroup, ids ...chat.JobID) error {
	if err := g.Check(g.Group); err != nil || len(ids) == 0 {
		return err
	}
	args := []string{g.Group}
	for _, id := range ids {
		args = append(args, string(id))
	}
	return j.c.call(ctx, "ack", func(ctx context.Context, conn rueidis.Client) error {
		return ackScript.Exec(ctx, conn, j.keys(g.Queue, g.Group)[:2], args).Error()
	})
}

// Fail is chat.Jobs's.
func (j *Jobs) Fail(ctx context.Context, g chat.JobGroup, job chat.Job, reason string) error {
	if err := g.Check(g.Group); err != nil {
		return err
	}
	reason = reason[:min(len(reason), chat.MaxJobReason)]
	args := []string{g.Group, string(job.ID), strconv.Itoa(job.Attempt), strconv.Itoa(g.Attempts), ms(g.Backoff(job.Attempt)), reason, maxDead}
	return j.c.call(ctx, "fail", func(ctx context.Context, conn rueidis.Client) error {
		return failScript.Exec(ctx, conn, j.keys(g.Queue, g.Group)[:3], args).Error()
	})
}

// Dead is chat.Jobs's.
func (j *Jobs) Dead(ctx context.Context, g chat.JobGroup, limit int) (dead []chat.DeadJob, err error) {
	if err := g.Check(g.Group); err != nil || limit <= 0 {
		return nil, err
	}
	err = j.c.call(ctx, "dead", func(ctx context.Context, conn rueidis.Client) error {
		entries, err := conn.Do(ctx, conn.B().Xrevrange().Key(j.keys(g.Queue, g.Group)[2]).End("+").Start("-").Count(int64(limit)).Build()).AsXRange()
		for _, e := range entries {
			attempt, _ := strconv.Atoi(e.FieldValues["n"]) // our own script's
			at, _, _ := cutMillis(e.ID)
			dead = append(dead, chat.DeadJob{
				Job:    chat.Job{ID: chat.JobID(e.FieldValues["id"]), Payload: []byte(e.FieldValues["p"]), Attempt: attempt},
				Reason: e.FieldValues["r"], At: at,
			})
		}
		return err
	})
	return dead, err
}

// cutMillis gives the time in a stream's id.
func cutMillis(id string) (at time.Time, seq string, err error) {
	for i := range id {
		if id[i] == '-' {
			n, err := strconv.ParseInt(id[:i], 10, 64)
			return time.UnixMilli(n), id[i+1:], err
		}
	}
	return time.Time{}, "", strconv.ErrSyntax
}
