package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"gopkg.in/yaml.v3"

	"meridian/chat"
	"meridian/config"
	"meridian/deploy/local"
	"meridian/router/route53/route53test"
	"meridian/test/cluster"
)

const (
	// motoInstallTimeout bounds pip, which the first run on a machine needs.
	motoInstallTimeout = 5 * time.Minute
	// exitPending is what plan says when there is something to do, exitRefused when somebody else's record is in the way.
	exitPending = 3
	exitRefused = 4
)

// moto starts moto's server, which speaks the API of Route 53, and gives its URL and a client of Amazon's.
func moto(t *testing.T) (string, *route53.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), motoInstallTimeout)
	defer cancel()
	var words bytes.Buffer
	install := exec.CommandContext(ctx, filepath.Join("..", "..", "scripts", "moto.sh"))
	install.Stderr = &words
	program, err := install.Output()
	if err != nil {
		t.Fatalf("moto's server, which stands for Route 53 here, is not there: %v\n%s", err, words.String())
	}
	host, _, err := net.SplitHostPort(local.ListenAddress())
	if err != nil {
		t.Fatal(err)
	}
	number, err := local.Port(host)
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprint(number)
	base := "http://" + net.JoinHostPort(host, port)
	server := local.New(local.Spec{
		Name: "moto", Dir: t.TempDir(), Path: strings.TrimSpace(string(program)), Args: []string{"-H", host, "-p", port},
		Ready: func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/moto-api/data.json", nil)
			if err != nil {
				return err
			}
			answer, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			return answer.Body.Close()
		},
	})
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Error(err)
		}
	})
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	once := awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) { tr.DisableKeepAlives = true })
	cfg, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithRegion("us-east-1"), awsconfig.WithHTTPClient(once))
	if err != nil {
		t.Fatal(err)
	}
	return base, route53.NewFromConfig(cfg, func(o *route53.Options) { o.BaseEndpoint = aws.String(base) })
}

// hostedZone makes one and gives its id.
func hostedZone(t *testing.T, api *route53.Client, name string) string {
	t.Helper()
	made, err := api.CreateHostedZone(t.Context(), &route53.CreateHostedZoneInput{Name: aws.String(name), CallerReference: aws.String(t.Name() + name)})
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(*made.HostedZone.Id)
}

// recordSets lists a hosted zone, which is small enough for one page, as ID is of the deployment's records or not.
func recordSets(t *testing.T, api *route53.Client, zone string) []types.ResourceRecordSet {
	t.Helper()
	page, err := api.ListResourceRecordSets(t.Context(), &route53.ListResourceRecordSetsInput{HostedZoneId: aws.String(zone)})
	if err != nil {
		t.Fatal(err)
	}
	if page.IsTruncated {
		t.Fatal("the zone has more than a page of records")
	}
	return page.ResourceRecordSets
}

// route53Run runs a verb of `meridian route53` and checks its exit code.
func route53Run(t *testing.T, verb, file string, want int, more ...string) string {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"route53", verb, "--config", file}, more...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != want {
		t.Fatalf("%s: exit code %d, want %d\n%s%s", verb, code, want, out, errs.String())
	}
	return string(out) + errs.String()
}

// configured writes the deployment's configuration, changed, and gives the file.
func configured(t *testing.T, c *cluster.Cluster, change func(*config.Config)) string {
	t.Helper()
	text, err := yaml.Marshal(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Regions, cfg.Zones = nil, nil
	if err := yaml.Unmarshal(text, cfg); err != nil {
		t.Fatal(err)
	}
	change(cfg)
	if text, err = yaml.Marshal(cfg); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "route53.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// An operator keeps a deployment's names at Route 53: plan says what is missing, apply makes it, and then there is nothing to do; a drain of
// a running region becomes weights and is taken back; one that is forced up has a check that passes; a region that leaves the configuration leaves Route 53; a record of somebody else in
// the way is a refusal that changes nothing. What Route 53 has then answers what `meridian explain ip` says.
func TestRoute53(t *testing.T) {
	base, api := moto(t)
	zone, taken := hostedZone(t, api, "meridian.test"), hostedZone(t, api, "taken.test")
	c := start(t, nil)
	with := func(change func(*config.Config)) string {
		return configured(t, c, func(cfg *config.Config) {
			cfg.Router.Route53.HostedZones, cfg.Router.Route53.Endpoint, cfg.Router.Route53.RequestsPerSecond = []string{zone}, base, 100
			if change != nil {
				change(cfg)
			}
		})
	}
	file := with(nil)
	const nothing = "0 to create, 0 to change, 0 to delete"
	if out := route53Run(t, "plan", file, exitPending); !strings.Contains(out, "+ chat.meridian.test. A [continent NA] → us-east.eu-west.ap-south._geo.chat.meridian.test.") {
		t.Errorf("the first plan:\n%s", out)
	}
	route53Run(t, "apply", file, 0)
	if out := route53Run(t, "plan", file, 0); !strings.Contains(out, nothing) {
		t.Errorf("after apply:\n%s", out)
	}
	route53AgreesWithExplain(t, c, recordSets(t, api, zone))

	c.Drain("eu-west", "within=10h&force=true")
	route53Run(t, "apply", file, 0)
	weights := map[int64]int{}
	for _, s := range recordSets(t, api, zone) {
		if strings.HasPrefix(*s.Name, "share.eu-west.") {
			weights[aws.ToInt64(s.Weight)]++
		}
	}
	if weights[75] == 0 || weights[75] != weights[25] || len(weights) != 2 {
		t.Errorf("weights of a drain: %v", weights)
	}
	c.Undrain("eu-west")
	route53Run(t, "apply", file, 0)
	if slices.ContainsFunc(recordSets(t, api, zone), func(s types.ResourceRecordSet) bool { return strings.HasPrefix(*s.Name, "share.") }) {
		t.Error("the drain was taken back, and shares are left")
	}

	// Not down: moto takes no record twice that was deleted in between.
	regionVerb(t, c, 0, "force", "up", "eu-west", "--until", "1h", "--reason", "a test")
	route53Run(t, "apply", file, 0)
	if forced := forcedChecks(t, api); len(forced) != 1 {
		t.Errorf("checks of a region that is forced up: %v", forced)
	}
	regionVerb(t, c, 0, "release", "eu-west")
	route53Run(t, "apply", file, 0)
	if forced := forcedChecks(t, api); len(forced) != 0 {
		t.Errorf("checks after it was released: %v", forced)
	}

	smaller := with(func(cfg *config.Config) {
		cfg.Regions = cfg.Regions[:2]
		cfg.Zones = []config.Zone{{Name: "world", Regions: []chat.Region{"us-east", "eu-west"}, Policy: chat.PolicyCopy, Transit: chat.TransitAllow, Ack: chat.AckRegion}}
	})
	if out := route53Run(t, "apply", smaller, 0, "--json"); !strings.Contains(out, `"action": "delete"`) {
		t.Errorf("without ap-south:\n%s", out)
	}
	for _, s := range recordSets(t, api, zone) {
		if strings.Contains(*s.Name, "ap-south") {
			t.Errorf("left: %s %s", *s.Name, s.Type)
		}
	}
	checks, err := api.ListHealthChecks(t.Context(), &route53.ListHealthChecksInput{})
	if err != nil || len(checks.HealthChecks) != 2 {
		t.Errorf("%d health checks are left, %v", len(checks.HealthChecks), err)
	}
	refusesForeignRecords(t, api, taken, with(func(cfg *config.Config) {
		cfg.Router.Domain, cfg.Router.Route53.HostedZones, cfg.Zones = "taken.test", []string{taken}, cfg.Zones[:2]
	}))
}

// forcedChecks gives the health checks that are healthy whatever they see.
func forcedChecks(t *testing.T, api *route53.Client) []string {
	t.Helper()
	all, err := api.ListHealthChecks(t.Context(), &route53.ListHealthChecksInput{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, h := range all.HealthChecks {
		if aws.ToBool(h.HealthCheckConfig.Disabled) && !aws.ToBool(h.HealthCheckConfig.Inverted) {
			out = append(out, *h.Id)
		}
	}
	return out
}

// refusesForeignRecords sets a record of somebody else in the way: it stays, and nothing is made.
func refusesForeignRecords(t *testing.T, api *route53.Client, zone, file string) {
	t.Helper()
	_, err := api.ChangeResourceRecordSets(t.Context(), &route53.ChangeResourceRecordSetsInput{
		HostedZoneId: aws.String(zone), ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{Action: types.ChangeActionUpsert, ResourceRecordSet: &types.ResourceRecordSet{
			Name: aws.String("taken.test."), Type: types.RRTypeA, TTL: aws.Int64(60), ResourceRecords: []types.ResourceRecord{{Value: aws.String("192.0.2.7")}},
		}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	before := recordSets(t, api, zone)
	for _, verb := range []string{"plan", "apply"} {
		if out := route53Run(t, verb, file, exitRefused); !strings.Contains(out, "taken.test. has a record of type A that is not ours (192.0.2.7") {
			t.Errorf("%s: %s", verb, out)
		}
	}
	if after := recordSets(t, api, zone); len(after) != len(before) {
		t.Errorf("%d records before, %d after a refusal", len(before), len(after))
	}
}

// route53AgreesWithExplain asks the program why, for addresses of some countries, and Route 53's records.
func route53AgreesWithExplain(t *testing.T, c *cluster.Cluster, sets []types.ResourceRecordSet) {
	t.Helper()
	resolver := route53test.New(sets)
	file := configured(t, c, func(*config.Config) {})
	for address, client := range map[string]route53test.Client{
		"81.2.69.142": {Country: "GB", Continent: "EU"}, "8.8.8.8": {Country: "US", Continent: "NA"}, "49.36.0.1": {Country: "IN", Continent: "AS"},
		"200.160.2.3": {Country: "BR", Continent: "SA"}, "192.0.2.1": {},
	} {
		out, err := exec.Command(binary, "explain", "ip", address, "--config", file, "--json").Output()
		if err != nil {
			t.Fatal(err)
		}
		var explained struct {
			Names []chat.Region            `json:"dns_regions"`
			Place struct{ Country string } `json:"place"`
		}
		if err := json.Unmarshal(out, &explained); err != nil {
			t.Fatal(err)
		}
		if explained.Place.Country != client.Country {
			t.Fatalf("%s is in %q, not %q", address, explained.Place.Country, client.Country)
		}
		region, _ := c.Config.Region(explained.Names[0])
		got, err := resolver.Answer(c.Config.Router.Domain, "A", client)
		if err != nil || len(got) != 1 || got[0] != netip.MustParseAddr(region.Addresses[0]).String() {
			t.Errorf("%s: Route 53 answers %v (%v), explain says %s", address, got, err, region.Name)
		}
	}
}
