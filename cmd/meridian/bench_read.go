package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// benchReaders is how many read at once in scenario read.
const benchReaders = 16

// benchCache is what the reads of one class found at one level.
type benchCache struct {
	Class string `json:"class"`
	Level string `json:"level"` // memory (L1), shared (L2), store (L3)
	Reads int64  `json:"reads"`
	// Share of the class's reads, and the mean time of one.
	Share  float64 `json:"share"`
	MeanMs float64 `json:"mean_ms"`
}

// measureRead has people read the newest page of their conversation, over and over: what a client does that opens it.
func (b *bench) measureRead(ctx context.Context, s *regionServer, c *child) (benchRun, error) {
	run := benchRun{Server: s.name(), Scenario: "read"}
	if err := b.converse(ctx, s); err != nil {
		return run, err
	}
	paths, err := s.pages(ctx)
	if err != nil {
		return run, err
	}
	before, err := c.cpu()
	if err != nil {
		return run, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(b.flags.seconds)*time.Second)
	defer cancel()
	began := time.Now()
	samples := make([][]time.Duration, benchReaders)
	var errs atomic.Int64
	var all sync.WaitGroup
	for w := range benchReaders {
		all.Go(func() {
			for i := w; ctx.Err() == nil; i += benchReaders {
				at := time.Now()
				if err := s.get(ctx, i%len(paths), paths[i%len(paths)], nil); err == nil {
					samples[w] = append(samples[w], time.Since(at))
				} else if ctx.Err() == nil {
					errs.Add(1)
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	after, err := c.cpu()
	var reads []time.Duration
	for _, some := range samples {
		reads = append(reads, some...)
	}
	run.Errors, run.PerSecond, run.Busy = errs.Load(), float64(len(reads))/took.Seconds(), (after-before).Seconds()/took.Seconds()
	if len(reads) > 0 {
		run.CPUPerMillion = (after - before).Seconds() / float64(len(reads)) * 1e6
	}
	run.Delivered, run.Cache = latenciesOf(reads), cacheOf(c.metrics())
	return run, err
}

// converse lets each pair write a little.
func (b *bench) converse(ctx context.Context, s *regionServer) error {
	l, err := newLoad(s, 2*b.flags.pairs, b.flags.textBytes)
	if err != nil {
		return err
	}
	defer l.close()
	l.begin(1)
	if err := pause(ctx, benchWarmUp); err != nil {
		return err
	}
	l.drain(ctx)
	return nil
}

// pages gives the path of each person's newest page.
func (s *regionServer) pages(ctx context.Context) ([]string, error) {
	paths := make([]string, len(s.tokens))
	for i := range paths {
		var list struct {
			Conversations []struct{ ID string } `json:"conversations"`
		}
		if err := s.get(ctx, i, "/v1/conversations?limit=1", &list); err != nil {
			return nil, err
		}
		if len(list.Conversations) == 0 {
			return nil, fmt.Errorf("%s has no conversation", benchUser(i))
		}
		paths[i] = "/v1/conversations/" + list.Conversations[0].ID + "/messages"
	}
	return paths, nil
}

func (s *regionServer) get(ctx context.Context, i int, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.Regions[0].BaseURL()+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.tokens[i])
	answer, err := benchClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", path, answer.Status, body)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(body, into)
	}
	return err
}

// benchClient keeps a connection for each reader.
var benchClient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: benchReaders}}

// metrics gives the region's metrics in the text form of Prometheus; "" when it does not answer.
func (c *child) metrics() string {
	answer, err := http.Get("http://" + c.admin + "/metrics")
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return ""
	}
	return string(text)
}

// cacheOf reads what the reads found where from the metrics.
func cacheOf(text string) []benchCache {
	found, classes := map[[2]string]*benchCache{}, map[string]float64{}
	var order []*benchCache
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(line, "{")
		labels, value, _ := strings.Cut(rest, "} ")
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || name != "meridian_cache_read_seconds_sum" && name != "meridian_cache_read_seconds_count" {
			continue
		}
		key := [2]string{label(labels, "class"), label(labels, "level")}
		c := found[key]
		if c == nil {
			c = &benchCache{Class: key[0], Level: key[1]}
			found[key], order = c, append(order, c)
		}
		if strings.HasSuffix(name, "_sum") {
			c.MeanMs = 1000 * n
		} else {
			c.Reads = int64(n)
			classes[c.Class] += n
		}
	}
	var out []benchCache
	for _, c := range order {
		if c.Reads == 0 {
			continue
		}
		c.MeanMs /= float64(c.Reads)
		c.Share = float64(c.Reads) / classes[c.Class]
		out = append(out, *c)
	}
	return out
}

// label gives the value of one of a series' labels.
func label(labels, name string) string {
	_, rest, _ := strings.Cut(labels, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
