package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meridian/config"
	"meridian/router/discovery"
)

// proxied asks url over connections that begin with a PROXY header for an IPv4 client, and perhaps with X-Forwarded-For.
func proxied(t *testing.T, method, url, client, forwarded string) (status int, body []byte) {
	t.Helper()
	src := net.ParseIP(client).To4()
	header := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"), src...)
	header = append(header, 127, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb)
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			_, err = c.Write(header)
		}
		return c, err
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	must(t, err)
	if forwarded != "" {
		req.Header.Set("X-Forwarded-For", forwarded)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, body
}

// Behind a load balancer that speaks the PROXY protocol a node and a router decide for the client's address, and a node limits by it;
// what the client itself says of addresses changes nothing and is counted.
func TestClientsBehindProxies(t *testing.T) {
	free := freeAddresses(t, 4)
	file := filepath.Join(t.TempDir(), "proxies.yaml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `
data_dir: %s
router: {dns: "", http: %q}
regions: [{name: eu-west, country: IE, latitude: 53.35, longitude: -6.26, http: %q, admin: %q, backbone: %q}]
zones: [{name: eu, regions: [eu-west]}]
home_zones: {default: eu}
network: {proxy_protocol: [127.0.0.0/8], trusted_proxies: [198.51.100.0/24]}
limits: {address_requests_per_second: 0.1}
`, append([]any{filepath.Join(filepath.Dir(file), "data")}, free...)...), 0o600))
	cfg, err := config.Load(file)
	must(t, err)
	d, err := newDeployment(cfg, io.Discard, false)
	must(t, err)
	ls, err := rebind(cfg.Regions[0].NodeList()[0])
	must(t, err)
	node, err := d.startNode(t.Context(), onlyNode("eu-west"), ls)
	must(t, err)
	t.Cleanup(node.Kill)
	router, err := d.bindRouter(false, false, "")
	must(t, err)
	router.run()
	t.Cleanup(func() {
		if err := router.close(); err != nil {
			t.Error(err)
		}
	})
	for name, base := range map[string]string{"node": cfg.Regions[0].BaseURL(), "router": "http://" + router.httpAddr()} {
		for _, c := range []struct{ client, forwarded, want string }{
			{"203.0.113.7", "", "203.0.113.7"},
			{"203.0.113.8", "192.0.2.1", "203.0.113.8"},
			{"198.51.100.1", "192.0.2.1, 192.0.2.2", "192.0.2.2"},
			{"198.51.100.2", "192.0.2.1, nonsense", "198.51.100.2"},
		} {
			status, body := proxied(t, http.MethodGet, base+"/v1/route", c.client, c.forwarded)
			var route discovery.Route
			if err := json.Unmarshal(body, &route); err != nil || route.Address != c.want {
				t.Errorf("%s, %s, %q: decided for %q (%d %s), want %s", name, c.client, c.forwarded, route.Address, status, body, c.want)
			}
		}
		_, metrics := proxied(t, http.MethodGet, base+"/metrics", "203.0.113.9", "")
		for _, line := range []string{`meridian_forwarded_ignored_total{region="%s",why="unlisted"} 1`, `meridian_forwarded_ignored_total{region="%s",why="malformed"} 1`} {
			line = fmt.Sprintf(line, map[string]string{"node": "eu-west", "router": "router"}[name])
			if !strings.Contains(string(metrics), line+"\n") {
				t.Errorf("%s: the metrics lack %s", name, line)
			}
		}
	}
	limited(t, cfg.Regions[0].BaseURL())
}

// limited asks until an address is limited; another one is not, and the first one is whatever it says.
func limited(t *testing.T, base string) {
	t.Helper()
	status := 0
	for range 1000 {
		if status, _ = proxied(t, http.MethodGet, base+"/v1/me", "203.0.113.20", ""); status == http.StatusTooManyRequests {
			break
		}
	}
	if status != http.StatusTooManyRequests {
		t.Fatalf("an address is never limited; the last status is %d", status)
	}
	if status, _ := proxied(t, http.MethodGet, base+"/v1/me", "203.0.113.21", ""); status != http.StatusUnauthorized {
		t.Errorf("another client of the same proxy: %d", status)
	}
	if status, _ := proxied(t, http.MethodGet, base+"/v1/me", "203.0.113.20", "192.0.2.99"); status != http.StatusTooManyRequests {
		t.Errorf("the limited client with a header of its own: %d", status)
	}
}
