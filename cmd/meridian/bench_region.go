package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"meridian/chat"
	"meridian/config"
)

// regionServer is one region of this program.
type regionServer struct {
	bench *bench
	round int
	cfg   *config.Config
	file  string

	tokens []string
}

func (s *regionServer) name() string { return "meridian" }

// prepare writes the configuration and signs the people up, in a process of its own: what hashing passwords takes of memory
// is not to be measured.
func (s *regionServer) prepare(ctx context.Context) error {
	if err := s.configure(ctx); err != nil {
		return err
	}
	c, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer c.stop()
	s.tokens = make([]string, 2*s.bench.flags.pairs)
	const atOnce = 4
	errs := make(chan error, atOnce)
	var workers sync.WaitGroup
	for w := range atOnce {
		workers.Go(func() {
			for i := w; i < len(s.tokens); i += atOnce {
				token, err := s.signUp(ctx, i)
				if err != nil {
					errs <- fmt.Errorf("sign up %d: %w", i, err)
					return
				}
				s.tokens[i] = token
			}
		})
	}
	workers.Wait()
	close(errs)
	return <-errs
}

// configure gives the built-in configuration with one region, and limits that do not stand in the way of the load.
func (s *regionServer) configure(ctx context.Context) error {
	cfg := config.Default()
	region := cfg.Regions[0]
	for _, address := range []*string{&region.HTTP, &region.Admin, &region.Backbone, &cfg.Router.HTTP} {
		var err error
		if *address, err = freeAddress(); err != nil {
			return err
		}
	}
	cfg.Regions = []config.Region{region}
	cfg.Zones = []config.Zone{{
		Name: "world", Regions: []chat.Region{region.Name}, Policy: chat.PolicyCopy, Transit: chat.TransitAllow, Ack: chat.AckRegion, AtSignUp: true,
	}}
	cfg.Router.DNS = ""
	cfg.DataDir = filepath.Join(s.bench.dir, fmt.Sprint("region-", s.round))
	cfg.Network.DelayScale = 0
	cfg.Security.Argon2MemoryKiB, cfg.Security.Argon2Passes = 64, 1
	cfg.Security.TokenTTL = time.Hour
	cfg.Limits.AuthPerMinute = 100_000
	cfg.Limits.SendsPerSecond = 10_000
	cfg.Limits.AddressRequestsPerSecond = 100_000
	cfg.Limits.SocketsPerAddress = 1_000_000
	cfg.Limits.SocketsPerUser = 1000
	cfg.Telemetry.LogLevel = "error"
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return err
	}
	if s.bench.servers != nil {
		if err := s.bench.servers.configure(ctx, cfg, s.bench); err != nil {
			return err
		}
	}
	text, err := yaml.Marshal(cfg)
	if err != nil {
		return err
	}
	s.cfg, s.file = cfg, filepath.Join(cfg.DataDir, "bench.yaml")
	return os.WriteFile(s.file, text, 0o600)
}

func (s *regionServer) start(ctx context.Context) (*child, error) {
	region := s.cfg.Regions[0]
	c, err := s.bench.launch(ctx, region.BaseURL()+"/readyz", "node", "--config", s.file, "--region", string(region.Name))
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(filepath.Join(s.cfg.SecretsPath(), "admin.token"))
	if err != nil {
		c.stop()
		return nil, err
	}
	c.admin, c.adminToken = region.Admin, string(bytes.TrimSpace(token))
	return c, nil
}

func benchUser(i int) string { return fmt.Sprintf("load.%06d", i) }

func (s *regionServer) signUp(ctx context.Context, i int) (token string, err error) {
	body, err := json.Marshal(map[string]string{"username": benchUser(i), "password": "correct horse battery"})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.Regions[0].BaseURL()+"/v1/signup", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var account struct{ Token, Code, Message string }
	if err := json.NewDecoder(answer.Body).Decode(&account); err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("%s: %s", account.Code, account.Message)
	}
	return account.Token, nil
}

func (s *regionServer) dial(i int) (*loadConn, error) {
	conn, err := dialLoad(s.cfg.Regions[0].HTTP, "/v1/ws", "meridian.v1.json")
	if err != nil {
		return nil, err
	}
	hello, err := json.Marshal(map[string]string{"t": "hello", "token": s.tokens[i], "device": "load"})
	if err == nil {
		err = conn.write(hello, true)
	}
	var frame []byte
	if err == nil {
		frame, err = conn.next()
	}
	if err == nil && !bytes.HasPrefix(frame, []byte(`{"t":"welcome"`)) {
		err = fmt.Errorf("no welcome but %s", frame)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (s *regionServer) frame(i int, id, after, text string) []byte {
	if after != "" {
		after = `","after":"` + after
	}
	return []byte(`{"t":"send","client_id":"` + id + after + `","to":{"user":"` + benchUser(i^1) + `"},"body":{"text":"` + text + `"}}`)
}
