package config_test

import (
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"
	"gopkg.in/yaml.v3"

	"meridian/chat"
	"meridian/config"
)

var update = flag.Bool("update", false, "write what the tests see into testdata")

// The built-in deployment is valid, and is the one that the documentation describes.
func TestDefault(t *testing.T) {
	c := config.Default()
	if err := c.Validate(); err != nil {
		t.Fatalf("Default is not valid:\n%v", err)
	}
	top := c.Topology()
	want := chat.Topology{
		Regions: []chat.Region{"ap-south", "eu-west", "us-east"},
		Zones: map[chat.Zone]chat.ZoneSpec{
			"world": {Name: "world", Regions: []chat.Region{"ap-south", "eu-west", "us-east"}, Policy: "copy", Transit: "allow", Ack: "region", AtSignUp: true},
			"eu":    {Name: "eu", Regions: []chat.Region{"eu-west"}, Policy: "copy", Transit: "allow", Ack: "region", AtSignUp: true},
			"in":    {Name: "in", Regions: []chat.Region{"ap-south"}, Policy: "deny", Transit: "deny", Ack: "region", AtSignUp: true},
		},
	}
	if diff := cmp.Diff(want, top); diff != "" {
		t.Errorf("topology (-want +got):\n%s", diff)
	}
	if c.HomeZones.Default != "world" || len(c.HomeZones.Countries) != 0 {
		t.Errorf("home zones = %+v, want world for every country", c.HomeZones)
	}
	if !c.Security.Sealed() {
		t.Error("bodies are not sealed by default")
	}
}

// A configuration that was written as YAML is read as the same: what a region does not have is left out.
func TestWrittenAndReadAgain(t *testing.T) {
	want := config.Default()
	text, err := yaml.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// Each call of Default gives a value of its own: who changes one changes no other.
func TestDefaultIsNotShared(t *testing.T) {
	a := config.Default()
	a.Regions[0].Name, a.Zones[0].Regions[0], *a.Security.SealBodies = "changed", "changed", false
	a.Regions[1].Addresses[0], a.Network.TrustedProxies[0] = "changed", "changed"
	if diff := cmp.Diff(config.Default(), config.Default()); diff != "" {
		t.Error(diff)
	}
	if err := config.Default().Validate(); err != nil {
		t.Error(err)
	}
}

// The example says in full what Default is: it parses to the same value, and it leaves no key out.
func TestExampleIsTheDefault(t *testing.T) {
	path := filepath.Join("examples", "three-regions.yaml")
	got, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	empty := cmp.FilterValues(func(a, b any) bool { return isEmpty(a) && isEmpty(b) }, cmp.Ignore())
	if diff := cmp.Diff(config.Default(), got, empty); diff != "" {
		t.Errorf("%s differs from Default (-default +example):\n%s", path, diff)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	keysStand(t, reflect.TypeFor[config.Config](), doc, "")
	first, ok := doc["regions"].([]any)[0].(map[string]any)
	if !ok {
		t.Fatal("the first region of the example is no mapping")
	}
	keysStand(t, reflect.TypeFor[config.Region](), first, "regions[0]")
}

// The example with real stores has every section that a region may leave out, and every key of each.
func TestRealStoresExample(t *testing.T) {
	path := filepath.Join("examples", "real-stores.yaml")
	if _, err := config.Load(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Regions []map[string]any `yaml:"regions"`
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	typ := reflect.TypeFor[config.Region]()
	for i := range typ.NumField() {
		field := typ.Field(i)
		if field.Type.Kind() != reflect.Pointer {
			continue
		}
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		section, ok := doc.Regions[0][key].(map[string]any)
		if !ok {
			t.Errorf("%s leaves out regions[0].%s", path, key)
			continue
		}
		keysStand(t, field.Type.Elem(), section, "regions[0]."+key)
	}
}

// isEmpty treats a missing list or map like an empty one.
func isEmpty(v any) bool {
	r := reflect.ValueOf(v)
	return r.IsValid() && (r.Kind() == reflect.Slice || r.Kind() == reflect.Map) && r.Len() == 0
}

func keysStand(t *testing.T, typ reflect.Type, doc map[string]any, path string) {
	t.Helper()
	for i := range typ.NumField() {
		field := typ.Field(i)
		key := field.Tag.Get("yaml")
		if field.Type.Kind() == reflect.Pointer {
			continue // a section that may be left out as a whole: real-stores.yaml has it
		}
		if key == "" || key != strings.ToLower(key) {
			t.Errorf("%s.%s has no yaml key", typ, field.Name)
		}
		value, ok := doc[key]
		if !ok {
			t.Errorf("the example leaves out %s.%s", path, key)
			continue
		}
		if nested, ok := value.(map[string]any); ok && field.Type.Kind() == reflect.Struct {
			keysStand(t, field.Type, nested, path+"."+key)
		}
	}
}

// What a file leaves out has the built-in value, but no built-in region or zone slips into another deployment.
func TestParseFillsDefaults(t *testing.T) {
	for _, empty := range []string{"", "# nothing\n", "---\n", "{}\n"} {
		c, err := config.Parse([]byte(empty))
		if err != nil {
			t.Fatalf("Parse(%q): %v", empty, err)
		}
		if diff := cmp.Diff(config.Default(), c); diff != "" {
			t.Errorf("Parse(%q) is not the default:\n%s", empty, diff)
		}
	}
	moved, err := config.Parse([]byte("router: {domain: chat.example.org}"))
	if err != nil {
		t.Fatal(err)
	}
	if got := moved.Zones[2].Host; got != "in.chat.example.org" {
		t.Errorf("the built-in zone's host is %q, want it under the new domain", got)
	}
	c, err := config.Parse([]byte(`
name: solo
regions:
  - {name: home, country: "NO", latitude: 59.9, longitude: 10.7, http: "192.0.2.7:80", admin: "127.0.0.1:81", backbone: ":82"}
zones:
  - {name: all, regions: [home]}
  - {name: closed, regions: [home], transit: deny, host: closed.chat.meridian.test}
home_zones: {default: all}
timing: {watermark: 250ms}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Regions) != 1 || len(c.Zones) != 2 {
		t.Fatalf("regions %v zones %v: the built-in ones slipped in", c.Regions, c.Zones)
	}
	if z := c.Zones[0]; z.Policy != chat.PolicyCopy || z.Transit != chat.TransitAllow || z.Ack != chat.AckRegion {
		t.Errorf("zone all = %+v, want copy, allow, region", z)
	}
	if z := c.Zones[1]; z.Policy != chat.PolicyDeny {
		t.Errorf("zone closed has policy %q; transit: deny alone must mean deny", z.Policy)
	}
	if c.Timing.Watermark != 250*time.Millisecond || c.Timing.Resend != time.Second || c.Limits.FrameBytes != 64<<10 {
		t.Errorf("timing %+v limits %+v", c.Timing, c.Limits)
	}
	if got := c.Regions[0].BaseURL(); got != "http://192.0.2.7:80" {
		t.Errorf("BaseURL = %q", got)
	}
	if got := c.SecretsPath(); got != filepath.Join("data", "secrets") {
		t.Errorf("SecretsPath = %q", got)
	}
}

// Every bad configuration is refused with all its problems at once, each naming the key, the value and what is allowed.
func TestBadConfigurations(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "bad", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad configurations: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) != 2 {
				t.Fatalf("%s has %d parts, want a configuration and its messages", file, len(archive.Files))
			}
			_, err = config.Parse(archive.Files[0].Data)
			if err == nil {
				t.Fatal("was taken")
			}
			var problems config.Problems
			if !errors.As(err, &problems) || chat.CodeOf(err) != chat.CodeInvalid {
				t.Fatalf("error is %T with code %q, want Problems with %q", err, chat.CodeOf(err), chat.CodeInvalid)
			}
			got := err.Error() + "\n"
			if *update {
				archive.Files[1].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

// A number that is none is out of all bounds.
func TestValidateRefusesNaN(t *testing.T) {
	c := config.Default()
	c.Network.DelayScale, c.Regions[0].Latitude = math.NaN(), math.NaN()
	err := c.Validate()
	if err == nil || !strings.Contains(err.Error(), "network.delay_scale") || !strings.Contains(err.Error(), "regions[0].latitude") {
		t.Errorf("Validate = %v, want both keys named", err)
	}
}

// A file that is not there is told with its name, and one that is far too large is not read.
func TestLoadErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	if _, err := config.Load(missing); chat.CodeOf(err) != chat.CodeInvalid || !strings.Contains(err.Error(), missing) {
		t.Errorf("Load of a missing file = %v", err)
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("# x\n", 1<<19)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(large); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("Load of a large file = %v", err)
	}
}

// Whatever the bytes, Parse gives a valid configuration or Problems, and never panics.
func FuzzParse(f *testing.F) {
	example, err := os.ReadFile(filepath.Join("examples", "three-regions.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	for _, seed := range []string{"", "a: &a [*a]", "? [x]\n: y", "regions: [{name: !!binary aGk=}]", "router: {bias_ms: {eu: .nan}}", "<<: {name: x}", "%YAML 1.1\n---\nname: x", "\xff\xfe"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := config.Parse(b)
		if err != nil {
			var problems config.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("error is %T %v, want Problems", err, err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("Parse gave what Validate refuses: %v", err)
		}
	})
}

// The example with nodes by role is valid; clients are told the nodes that serve sockets, and may come from every node's page.
func TestByRoleExample(t *testing.T) {
	c, err := config.Load(filepath.Join("examples", "three-regions-by-role.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	us := c.Regions[0]
	if got := us.ClientURLs(); len(got) != 2 || got[0] != us.Nodes[3].BaseURL() || got[1] != us.Nodes[4].BaseURL() || len(us.URLs()) != 5 {
		t.Errorf("clients are told %v of %v", got, us.URLs())
	}
	if n, _ := c.Regions[1].Node("n2"); !n.Runs(chat.ServiceAuth) || !n.Runs(chat.ServiceChat) {
		t.Error("a node without services does not run all")
	}
	n1 := chat.NodeRef{Region: "eu-west", Node: "n1"}
	if err := c.SetServices(n1, []chat.Service{chat.ServiceChat}); err != nil {
		t.Errorf("one whose work others do too may change: %v", err)
	}
	if got := c.Regions[1].ClientURLs(); len(got) != 3 {
		t.Errorf("then clients are told %v", got)
	}
	if err := c.SetServices(chat.NodeRef{Region: "ap-south", Node: config.OnlyNode}, []chat.Service{chat.ServiceChat}); err == nil {
		t.Error("a region's only node may leave services out")
	}
}

// The example with two nodes in each region is valid, every node has its place, and clients reach each.
func TestTwoNodesExample(t *testing.T) {
	c, err := config.Load(filepath.Join("examples", "three-regions-two-nodes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(c.Backbones()); got != 6 {
		t.Errorf("%d backbones, want 6", got)
	}
	for _, r := range c.Regions {
		if n, ok := r.Node("n2"); !ok || len(r.URLs()) != 2 || r.URLs()[1] != n.BaseURL() {
			t.Errorf("region %s: URLs %v, node n2 %+v", r.Name, r.URLs(), n)
		}
		if _, ok := r.Node("n3"); ok {
			t.Errorf("region %s has a node n3", r.Name)
		}
	}
	balanced := config.Region{URL: "https://eu.example.org", Nodes: c.Regions[0].Nodes}
	if got := balanced.URLs(); len(got) != 1 || got[0] != balanced.URL {
		t.Errorf("behind a load balancer clients get %v", got)
	}
	single := config.Default()
	if n, ok := single.Regions[0].Node(config.OnlyNode); !ok || n.Backbone != single.Regions[0].Backbone {
		t.Errorf("a region without nodes has the node %+v", n)
	}
}
