package storetest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"meridian/chat"
)

// RunJobs runs the suite of chat.Jobs. open gives the jobs of n nodes of one region, with empty queues of maxJobs each; it
// cleans up when the test ends.
func RunJobs(t *testing.T, open func(t testing.TB, n, maxJobs int) []chat.Jobs) {
	tests := []struct {
		name string
		test func(*testing.T, []chat.Jobs)
	}{
		{"Order", testJobsOrder},
		{"Groups", testJobsGroups},
		{"Retry", testJobsRetry},
		{"DeadLetter", testJobsDeadLetter},
		{"Hold", testJobsHold},
		{"Wait", testJobsWait},
		{"Full", testJobsFull},
		{"Malformed", testJobsMalformed},
		{"ManyConsumers", testJobsManyConsumers},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t, 2, jobsInQueue)) })
	}
}

// jobsInQueue bounds the queues of the suite.
const jobsInQueue = 500

func jobGroup(name string) chat.JobGroup {
	return chat.JobGroup{
		Queue: "push", Group: name, Hold: time.Minute, Attempts: 3, BackoffMin: 50 * time.Millisecond, BackoffMax: 100 * time.Millisecond,
	}
}

func enqueue(t *testing.T, j chat.Jobs, payloads ...string) (ids []chat.JobID) {
	t.Helper()
	for _, p := range payloads {
		id, err := j.Enqueue(context.Background(), "push", []byte(p))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func take(t *testing.T, j chat.Jobs, g chat.JobGroup, consumer string, limit int, wait time.Duration) []chat.Job {
	t.Helper()
	jobs, err := j.Take(context.Background(), g, consumer, limit, wait)
	if err != nil {
		t.Fatal(err)
	}
	return jobs
}

// takeOne waits for exactly one job.
func takeOne(t *testing.T, j chat.Jobs, g chat.JobGroup, consumer string) chat.Job {
	t.Helper()
	jobs := take(t, j, g, consumer, 10, settleWait)
	if len(jobs) != 1 {
		t.Fatalf("took %d jobs, not one", len(jobs))
	}
	return jobs[0]
}

func none(t *testing.T, j chat.Jobs, g chat.JobGroup) {
	t.Helper()
	if jobs := take(t, j, g, "c9", 10, 0); len(jobs) > 0 {
		t.Fatalf("took %+v; nothing should be there", jobs)
	}
}

// Jobs come in the order in which they were put in, each to one consumer, once.
func testJobsOrder(t *testing.T, nodes []chat.Jobs) {
	g := jobGroup("g")
	none(t, nodes[0], g)
	ids := enqueue(t, nodes[0], "a", "b\x00\xff", "")
	first := take(t, nodes[1], g, "c1", 2, 0)
	second := take(t, nodes[0], g, "c2", 10, 0)
	got := slices.Concat(first, second)
	if len(first) != 2 || len(got) != 3 {
		t.Fatalf("took %d and %d jobs", len(first), len(second))
	}
	for i, want := range []string{"a", "b\x00\xff", ""} {
		if got[i].ID != ids[i] || string(got[i].Payload) != want || got[i].Attempt != 1 {
			t.Errorf("job %d is %+v, not %s %q", i, got[i], ids[i], want)
		}
	}
	none(t, nodes[0], g)
	for _, n := range nodes {
		if err := n.Ack(context.Background(), g, append(ids, ids[0])...); err != nil {
			t.Fatal(err)
		}
	}
	none(t, nodes[1], g)
}

// Every group gets every job; a new group gets what the others have not ended.
func testJobsGroups(t *testing.T, nodes []chat.Jobs) {
	ctx := context.Background()
	none(t, nodes[0], jobGroup("g1"))
	none(t, nodes[1], jobGroup("g2"))
	enqueue(t, nodes[0], "a")
	for _, name := range []string{"g1", "g2"} {
		job := takeOne(t, nodes[0], jobGroup(name), "c")
		if string(job.Payload) != "a" {
			t.Fatalf("group %s got %q", name, job.Payload)
		}
		if name == "g1" {
			if err := nodes[0].Ack(ctx, jobGroup(name), job.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	none(t, nodes[0], jobGroup("g1"))
	if job := takeOne(t, nodes[1], jobGroup("g3"), "c"); string(job.Payload) != "a" {
		t.Fatalf("a new group got %q", job.Payload)
	}
}

// A failed job is tried again after the back-off, not before, and counts its attempts.
func testJobsRetry(t *testing.T, nodes []chat.Jobs) {
	ctx, g := context.Background(), jobGroup("g")
	enqueue(t, nodes[0], "a")
	job := takeOne(t, nodes[0], g, "c1")
	failed := time.Now()
	if err := nodes[0].Fail(ctx, g, job, "no"); err != nil {
		t.Fatal(err)
	}
	if err := nodes[0].Fail(ctx, g, job, "said twice"); err != nil {
		t.Fatal(err)
	}
	again := takeOne(t, nodes[1], g, "c2")
	if again.ID != job.ID || again.Attempt != 2 || string(again.Payload) != "a" {
		t.Fatalf("the second attempt is %+v", again)
	}
	if waited := time.Since(failed); waited < 45*time.Millisecond {
		t.Errorf("tried again after %v, back-off 50 ms", waited)
	}
	if err := nodes[0].Fail(ctx, g, job, "the first consumer comes late"); err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].Ack(ctx, g, again.ID); err != nil {
		t.Fatal(err)
	}
	if jobs := take(t, nodes[0], g, "c1", 10, 200*time.Millisecond); len(jobs) > 0 {
		t.Errorf("an ended job came back: %+v", jobs)
	}
}

// After its last attempt a job is a dead letter with its reason; the queue goes on.
func testJobsDeadLetter(t *testing.T, nodes []chat.Jobs) {
	ctx, g := context.Background(), jobGroup("g")
	reason := strings.Repeat("r", chat.MaxJobReason+10)
	for _, payload := range []string{"a", "b"} {
		enqueue(t, nodes[0], payload)
		for attempt := 1; attempt <= 3; attempt++ {
			job := takeOne(t, nodes[attempt%2], g, "c")
			if job.Attempt != attempt {
				t.Fatalf("attempt %d says %d", attempt, job.Attempt)
			}
			if err := nodes[attempt%2].Fail(ctx, g, job, reason); err != nil {
				t.Fatal(err)
			}
		}
	}
	none(t, nodes[0], g)
	dead, err := nodes[1].Dead(ctx, g, 10)
	if err != nil || len(dead) != 2 {
		t.Fatalf("%d dead letters, %v", len(dead), err)
	}
	if d := dead[0]; string(d.Payload) != "b" || d.Attempt != 3 || d.Reason != reason[:chat.MaxJobReason] || time.Since(d.At) > time.Minute {
		t.Errorf("the newest is %+v", d)
	}
	if one, err := nodes[0].Dead(ctx, g, 1); err != nil || len(one) != 1 || one[0].ID != dead[0].ID {
		t.Errorf("the newest one alone: %+v, %v", one, err)
	}
	enqueue(t, nodes[0], "c")
	if job := takeOne(t, nodes[0], g, "c"); string(job.Payload) != "c" {
		t.Errorf("after the dead letters came %q", job.Payload)
	}
}

// What a consumer holds too long goes to another; after its last attempt it is a dead letter too.
func testJobsHold(t *testing.T, nodes []chat.Jobs) {
	ctx, g := context.Background(), jobGroup("g")
	g.Hold, g.Attempts = 100*time.Millisecond, 2
	enqueue(t, nodes[0], "a")
	began := time.Now()
	job := takeOne(t, nodes[0], g, "c1")
	again := takeOne(t, nodes[1], g, "c2")
	if held := time.Since(began); again.ID != job.ID || again.Attempt != 2 || held < 95*time.Millisecond {
		t.Fatalf("after %v of a hold of 100 ms came %+v", held, again)
	}
	eventually(t, "the job that nobody ends is a dead letter", func() bool {
		none(t, nodes[0], g)
		dead, err := nodes[0].Dead(ctx, g, 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(dead) == 1 && dead[0].ID == job.ID && dead[0].Reason != ""
	})
}

// Take waits for a job, no longer than it was told, and a job ends the wait.
func testJobsWait(t *testing.T, nodes []chat.Jobs) {
	g := jobGroup("g")
	start := time.Now()
	if jobs := take(t, nodes[0], g, "c", 10, 100*time.Millisecond); len(jobs) > 0 || time.Since(start) < 90*time.Millisecond {
		t.Fatalf("took %d jobs after %v", len(jobs), time.Since(start))
	}
	got := make(chan []chat.Job)
	go func() {
		jobs, _ := nodes[1].Take(context.Background(), g, "c", 10, settleWait)
		got <- jobs
	}()
	enqueue(t, nodes[0], "a")
	if jobs := <-got; len(jobs) != 1 {
		t.Fatalf("the waiting consumer took %d jobs", len(jobs))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start = time.Now()
	if _, err := nodes[0].Take(ctx, g, "c", 10, time.Minute); chat.CodeOf(err) != chat.CodeUnknownOutcome || time.Since(start) > settleWait {
		t.Errorf("a context that ends: %v after %v", err, time.Since(start))
	}
}

// A full queue says busy, and takes jobs again once some have ended.
func testJobsFull(t *testing.T, nodes []chat.Jobs) {
	ctx, g := context.Background(), jobGroup("g")
	for i := range jobsInQueue {
		enqueue(t, nodes[0], strconv.Itoa(i))
	}
	if _, err := nodes[1].Enqueue(ctx, "push", []byte("x")); chat.CodeOf(err) != chat.CodeBusy || chat.AsError(err).RetryAfter <= 0 {
		t.Fatalf("a full queue: %v", err)
	}
	if _, err := nodes[1].Enqueue(ctx, "other", []byte("x")); err != nil {
		t.Fatalf("another queue: %v", err)
	}
	for ended := 0; ended < jobsInQueue; {
		for _, job := range take(t, nodes[0], g, "c", chat.MaxJobsTaken, 0) {
			if err := nodes[0].Ack(ctx, g, job.ID); err != nil {
				t.Fatal(err)
			}
			ended++
		}
	}
	eventually(t, "the queue takes jobs again", func() bool {
		none(t, nodes[0], g)
		id, err := nodes[1].Enqueue(ctx, "push", []byte("x"))
		return err == nil && id != ""
	})
}

// Malformed names, groups and payloads are refused.
func testJobsMalformed(t *testing.T, nodes []chat.Jobs) {
	ctx, j := context.Background(), nodes[0]
	for _, queue := range []string{"", "a b", "ä", "a{b}", strings.Repeat("q", chat.MaxJobName+1)} {
		if _, err := j.Enqueue(ctx, queue, nil); chat.CodeOf(err) != chat.CodeInvalid {
			t.Errorf("queue %q: %v", queue, err)
		}
	}
	if _, err := j.Enqueue(ctx, "push", make([]byte, chat.MaxJobPayload+1)); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("a large payload: %v", err)
	}
	bad := make([]chat.JobGroup, 5)
	for i := range bad {
		bad[i] = jobGroup("g")
	}
	bad[0].Queue, bad[1].Group, bad[2].Hold, bad[3].Attempts, bad[4].BackoffMax = "", "x y", 0, 0, time.Millisecond
	for i, g := range bad {
		_, err := j.Take(ctx, g, "c", 1, 0)
		for _, err := range []error{err, j.Ack(ctx, g, "1"), j.Fail(ctx, g, chat.Job{ID: "1", Attempt: 1}, "r")} {
			if chat.CodeOf(err) != chat.CodeInvalid {
				t.Errorf("group %d: %v", i, err)
			}
		}
	}
	if _, err := j.Take(ctx, jobGroup("g"), "", 1, 0); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("a consumer without a name: %v", err)
	}
	for _, id := range []chat.JobID{"", "no id", "999-9", "7"} {
		if err := j.Ack(ctx, jobGroup("g"), id); err != nil {
			t.Errorf("Ack(%q): %v", id, err)
		}
		if err := j.Fail(ctx, jobGroup("g"), chat.Job{ID: id, Attempt: 1}, "r"); err != nil {
			t.Errorf("Fail(%q): %v", id, err)
		}
	}
}

// Many consumers on two nodes share the jobs: each is done, and none is given to two while it is held.
func testJobsManyConsumers(t *testing.T, nodes []chat.Jobs) {
	ctx, g := context.Background(), jobGroup("g")
	const jobs, consumers = 200, 6
	var mu sync.Mutex
	times := make(map[string]int)
	var done sync.WaitGroup
	for c := range consumers {
		done.Go(func() {
			for {
				list, err := nodes[c%2].Take(ctx, g, "c"+strconv.Itoa(c), 7, 200*time.Millisecond)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, job := range list {
					times[string(job.Payload)]++
				}
				all := len(times) == jobs
				mu.Unlock()
				for _, job := range list {
					if err := nodes[c%2].Ack(ctx, g, job.ID); err != nil {
						t.Error(err)
					}
				}
				if all && len(list) == 0 {
					return
				}
			}
		})
	}
	for i := range jobs {
		enqueue(t, nodes[i%2], strconv.Itoa(i))
	}
	done.Wait()
	for payload, n := range times {
		if n != 1 {
			t.Errorf("job %s was given %d times", payload, n)
		}
	}
}
