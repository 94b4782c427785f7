package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"meridian/chat"
	"meridian/config"
	"meridian/router/discovery"
	"meridian/router/learned"
)

// learning is a region's node and a router that have the same file of learned round trips.
type learning struct {
	file  string
	bases []string // of the node and of the router
}

// startLearning starts both, and another region's node; the file is not there yet.
func startLearning(t *testing.T) *learning {
	t.Helper()
	free := freeAddresses(t, 7)
	dir := t.TempDir()
	l := &learning{file: filepath.Join(dir, "learned.csv")}
	path := filepath.Join(dir, "learning.yaml")
	must(t, os.WriteFile(path, fmt.Appendf(nil, `
data_dir: %[1]s/data
router: {dns: "", http: %[2]q, canaries: [2.125.160.216], learned: {file: %[3]q, changed_share: 0}}
regions:
  - {name: eu-west, country: IE, latitude: 53.35, longitude: -6.26, http: %[4]q, admin: %[5]q, backbone: %[6]q}
  - {name: us-east, country: US, latitude: 38.95, longitude: -77.45, http: %[7]q, admin: %[8]q, backbone: %[9]q}
zones: [{name: world, regions: [eu-west, us-east]}]
home_zones: {default: world}
network: {trusted_proxies: [127.0.0.0/8]}
limits: {address_requests_per_second: 1000}
`, append([]any{dir, free[0], l.file}, free[1:]...)...), 0o600))
	cfg, err := config.Load(path)
	must(t, err)
	d, err := newDeployment(cfg, io.Discard, false)
	must(t, err)
	d.watchEvery = 50 * time.Millisecond
	for _, r := range cfg.Regions {
		ls, err := rebind(r.NodeList()[0])
		must(t, err)
		node, err := d.startNode(t.Context(), onlyNode(r.Name), ls)
		must(t, err)
		t.Cleanup(node.Kill)
	}
	router, err := d.bindRouter(false, false, "")
	must(t, err)
	router.run()
	t.Cleanup(func() { must(t, router.close()) })
	l.bases = []string{cfg.Regions[0].BaseURL(), "http://" + router.httpAddr()}
	return l
}

// put puts a file there that was collected some time ago and says that us-east is near to a network, and eu-west far.
func (l *learning) put(t *testing.T, ago time.Duration, network string) {
	t.Helper()
	f := learned.File{Collected: time.Now().Add(-ago)}
	for region, ms := range map[chat.Region]float64{"us-east": 5, "eu-west": 200} {
		f.Rows = append(f.Rows, learned.Row{Group: learned.Group{Network: netip.MustParsePrefix(network)}, Region: region, P50Ms: ms, Samples: 100, Last: f.Collected})
	}
	must(t, write(l.file, f))
}

// get asks one of them for a client.
func get(t *testing.T, url string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	req.Header.Set("X-Forwarded-For", "81.2.69.142")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return body
}

// leads waits until all of them lead a client of the network to a region.
func (l *learning) leads(t *testing.T, want chat.Region) {
	t.Helper()
	for _, base := range l.bases {
		eventually(t, base+" to lead to "+string(want), func() bool {
			var route discovery.Route
			return json.Unmarshal(get(t, base+"/v1/route"), &route) == nil && route.Region == want
		})
	}
}

// figure waits until a metric of all of them is as it must be.
func (l *learning) figure(t *testing.T, pattern string, ok func(float64) bool) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^meridian_` + pattern + ` (\S+)$`)
	for _, base := range l.bases {
		eventually(t, pattern+" of "+base, func() bool {
			found := line.FindSubmatch(get(t, base+"/metrics"))
			if found == nil {
				return false
			}
			v, err := strconv.ParseFloat(string(found[1]), 64)
			return err == nil && ok(v)
		})
	}
}

// A node takes a file of learned round trips while it serves, as a router does and with what that holds on to, so that both lead a client to the
// same region after each file; one that is damaged, or would move a watched address, changes nothing and is counted.
func TestLearnedFileWhileServing(t *testing.T) {
	l := startLearning(t)
	l.leads(t, "eu-west")
	const day = 24 * time.Hour
	once := func(v float64) bool { return v == 1 }
	for build := range 3 { // what is much better must be so in three files
		l.leads(t, "eu-west")
		age := time.Duration(3-build) * day
		l.put(t, age, "81.2.64.0/20")
		l.figure(t, `learned_age_seconds\{[^}]*\}`, func(v float64) bool { return v < (age + day/2).Seconds() })
	}
	l.leads(t, "us-east")
	l.put(t, 0, "2.125.160.0/20")
	l.figure(t, `learned_refused_total\{fault="canaries"[^}]*\}`, once)
	must(t, os.WriteFile(l.file, []byte("half a file"), 0o600))
	l.figure(t, `learned_refused_total\{fault="(?:corrupt|wrong_type)"[^}]*\}`, once)
	l.leads(t, "us-east")
	l.figure(t, `learned_age_seconds\{[^}]*\}`, func(v float64) bool { return v > (day / 2).Seconds() })
}
