package dns

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"meridian/config"
	"meridian/router/dns/keys"
)

// tool gives how a DNS tool is run against a server; the test fails where it is not installed.
func tool(t *testing.T, name, addr string) func(args ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts the DNS tools of Debian")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run scripts/deps.sh (Debian packages bind9-dnsutils, bind9-utils, knot-dnsutils)", name)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, path, append([]string{"@" + host, "-p", port}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C") // without the settings of who runs the test
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // what counts is what it prints
		return strings.Join(strings.Fields(out.String()), " ")
	}
}

// conforms runs a tool for each line and looks for all that its answer must show, or must not.
func conforms(t *testing.T, run func(args ...string) string, cases map[string][]string) {
	t.Helper()
	for line, want := range cases {
		out := run(strings.Fields(line)...)
		for _, w := range want {
			text, no := strings.CutPrefix(w, "!")
			if strings.Contains(out, text) == no {
				t.Errorf("%s: want %q in:\n%s", line, w, out)
			}
		}
	}
}

func conformanceServer(t *testing.T) (s *Server, addr string) {
	t.Helper()
	s, c := signed(t, func(o *Options) {
		o.Serving.ID = "router-7"
		o.Serving.RateLimit = config.RateLimit{ResponsesPerSecond: 500, Slip: 2, Exempt: []string{"127.0.0.0/8"}}
	})
	c.now = time.Now() // the tools have no other
	return s, served(t, s)
}

// dig gets from us what a correct authoritative server answers.
func TestConformanceDig(t *testing.T) {
	_, addr := conformanceServer(t)
	dig := tool(t, "dig", addr)
	const subnet = " +subnet=81.2.69.0/24"
	conforms(t, dig, map[string][]string{
		"chat.example.org A" + subnet:                {"status: NOERROR", "flags: qr aa rd; QUERY: 1, ANSWER: 1,", "chat.example.org. 20 IN A 127.0.0.12", "CLIENT-SUBNET: 81.2.69.0/24/17", "COOKIE: ", "(good)", "!WARNING: Message", "!malformed"},
		"cHaT.ExAmPlE.oRg A" + subnet:                {"cHaT.ExAmPlE.oRg. 20 IN A 127.0.0.12"},
		"chat.example.org AAAA" + subnet:             {"IN AAAA 2001:db8::12"},
		"chat.example.org AAAA +subnet=49.36.0.0/16": {"status: NOERROR", "ANSWER: 0, AUTHORITY: 1", "IN SOA ns.chat.example.org."},
		"chat.example.org HTTPS" + subnet:            {`IN HTTPS 1 eu-west.chat.example.org. alpn="h2,http/1.1" port=8443 ipv4hint=127.0.0.12 ipv6hint=2001:db8::12`},
		"_meridian._tcp.chat.example.org SRV" + subnet: {
			"IN SRV 1 1 8443 eu-west.chat.example.org.", "ADDITIONAL: 3",
		},
		"chat.example.org CAA":                                   {`IN CAA 0 issue "letsencrypt.org"`, `IN CAA 128 iodef "mailto:ca@example.org"`},
		"chat.example.org NS":                                    {"IN NS ns.chat.example.org.", "IN NS ns.elsewhere.net.", "ns.chat.example.org. 20 IN A 127.0.0.53"},
		"chat.example.org SOA +multiline":                        {"hostmaster.chat.example.org."},
		"explain.chat.example.org TXT" + subnet:                  {`"region=eu-west"`, "nearest by distance", "CLIENT-SUBNET: 81.2.69.0/24/32"},
		"nobody.chat.example.org A":                              {"status: NXDOMAIN", "flags: qr aa rd;", "AUTHORITY: 1", "chat.example.org. 20 IN SOA", "!NSEC"},
		"_tcp.chat.example.org A":                                {"status: NOERROR", "ANSWER: 0, AUTHORITY: 1"},
		"www.example.net A":                                      {"status: REFUSED", "ANSWER: 0, AUTHORITY: 0", "!flags: qr aa"},
		"chat.example.org AXFR":                                  {"Transfer failed."},
		"chat.example.org IXFR=1":                                {"Transfer failed."},
		"chat.example.org ANY +notcp":                            {`IN HINFO "RFC8482" ""`, "ANSWER: 1"},
		"CH TXT version.bind":                                    {`"meridian"`},
		"CH TXT id.server":                                       {`"router-7"`},
		"CH TXT hostname.bind":                                   {`"router-7"`},
		"CH TXT authors.bind":                                    {"status: REFUSED"},
		"chat.example.org A +nsid":                               {`NSID: 72 6f 75 74 65 72 2d 37 ("router-7")`},
		"chat.example.org A +noedns":                             {"!OPT PSEUDOSECTION", "status: NOERROR"},
		"chat.example.org A +edns=1 +noednsneg":                  {"status: BADVERS", "EDNS: version: 0"},
		"chat.example.org A +edns=1 +noednsneg +ednsopt=8:ff":    {"status: BADVERS", "EDNS: version: 0", "!CLIENT-SUBNET"},
		"chat.example.org A +edns=7 +noednsneg +ednsopt=10:abcd": {"status: BADVERS", "EDNS: version: 0", "!COOKIE"},
		"chat.example.org A +edns=0 +ednsopt=8:ff":               {"status: FORMERR"},
		"chat.example.org A +ednsflags=0x4000":                   {"status: NOERROR", "!MBZ: 0x4000"},
		"chat.example.org A +ednsopt=65001:abcd":                 {"status: NOERROR"},
		"chat.example.org A +opcode=notify":                      {"status: NOTIMP"},
		"chat.example.org A -y hmac-sha256:k:c2VjcmV0":           {"status: NOTAUTH", "k. 0 ANY TSIG hmac-sha256.", "BADKEY"},
		"chat.example.org A +header-only":                        {"status: NOERROR", "QUERY: 0", "COOKIE: ", "(good)"},
		"chat.example.org A +cookie=0102030405060708ffffffffffffffffffffffffffffffff": {"status: NOERROR", "COOKIE: 0102030405060708"},
		"chat.example.org A +badcookie +cookie":                                       {"status: NOERROR", "(good)"},
		"chat.example.org A +subnet=0/0":                                              {"CLIENT-SUBNET: 0.0.0.0/0/0"},
		"chat.example.org A +tcp +keepalive":                                          {"status: NOERROR", "TCP KEEPALIVE: 10.0 secs"},
		"chat.example.org A +dnssec":                                                  {"RRSIG A 13 3 20 ", "flags: do; udp: 1232"},
		"nobody.chat.example.org A +dnssec +ignore":                                   {"status: NXDOMAIN", "AUTHORITY: 6", "IN NSEC"},
		"nobody.chat.example.org A +dnssec +bufsize=512 +ignore":                      {"flags: qr aa tc rd;"},
		"nobody.chat.example.org A +dnssec +bufsize=512":                              {"Truncated, retrying in TCP mode", "AUTHORITY: 6"},
	})
}

// A server that a resolver can talk to passes the tests of RFC 8906, section 8: it answers whatever it does not know, and sends back
// no bit or option that it does not know.
func TestConformanceRFC8906(t *testing.T) {
	_, addr := conformanceServer(t)
	dig := tool(t, "dig", addr)
	const plain, edns = " +noedns +noad +norec", " +nocookie +noad +norec"
	soa := "IN SOA ns.chat.example.org."
	conforms(t, dig, map[string][]string{
		"chat.example.org SOA" + plain:                                      {"status: NOERROR", "flags: qr aa;", soa, "!OPT PSEUDOSECTION"},
		"chat.example.org TYPE1000" + plain:                                 {"status: NOERROR", "flags: qr aa;", "ANSWER: 0", soa},
		"chat.example.org SOA +noedns +noad +norec +cd":                     {"status: NOERROR", "flags: qr aa cd;", soa},
		"chat.example.org SOA +noedns +norec +ad":                           {"status: NOERROR", "flags: qr aa;", soa},
		"chat.example.org SOA +zflag" + plain:                               {"status: NOERROR", "flags: qr aa;", "!MBZ", soa},
		"chat.example.org SOA +noedns +noad +rec":                           {"status: NOERROR", "flags: qr aa rd;", soa},
		"chat.example.org +opcode=15 +header-only" + plain:                  {"status: NOTIMP", "!" + soa},
		"chat.example.org SOA +tcp" + plain:                                 {"status: NOERROR", "flags: qr aa;", soa},
		"chat.example.org SOA +edns=0" + edns:                               {"status: NOERROR", "EDNS: version: 0", soa},
		"chat.example.org SOA +edns=1 +noednsneg" + edns:                    {"status: BADVERS", "EDNS: version: 0", "!" + soa},
		"chat.example.org SOA +edns=0 +ednsopt=100" + edns:                  {"status: NOERROR", "EDNS: version: 0", "!OPT=100", soa},
		"chat.example.org SOA +edns=0 +ednsflags=0x40" + edns:               {"status: NOERROR", "EDNS: version: 0", "!MBZ", soa},
		"chat.example.org SOA +edns=1 +noednsneg +ednsflags=0x40" + edns:    {"status: BADVERS", "EDNS: version: 0", "!MBZ", "!" + soa},
		"chat.example.org SOA +edns=1 +noednsneg +ednsopt=100" + edns:       {"status: BADVERS", "EDNS: version: 0", "!OPT=100", "!" + soa},
		"chat.example.org DNSKEY +dnssec +bufsize=512 +ignore" + edns:       {"status: NOERROR", "EDNS: version: 0, flags: do;"},
		"chat.example.org SOA +edns=0 +dnssec" + edns:                       {"status: NOERROR", "EDNS: version: 0, flags: do;", soa, "IN RRSIG SOA"},
		"chat.example.org SOA +edns=1 +noednsneg +dnssec" + edns:            {"status: BADVERS", "EDNS: version: 0, flags: do;", "!" + soa},
		"chat.example.org SOA +noad +norec +nsid +expire +subnet=0.0.0.0/0": {"status: NOERROR", "COOKIE: ", "NSID: ", "CLIENT-SUBNET: 0.0.0.0/0/0", soa},
	})
}

// kdig +dnssec gets signatures with all that is signed; over one TCP connection too.
func TestConformanceKdig(t *testing.T) {
	_, addr := conformanceServer(t)
	kdig := tool(t, "kdig", addr)
	conforms(t, kdig, map[string][]string{
		"+dnssec chat.example.org A":          {"status: NOERROR", "Flags: qr aa rd;", "IN RRSIG A 13 3 20", "!WARNING"},
		"+dnssec chat.example.org DNSKEY":     {"3600 IN DNSKEY 257 3 13", "IN RRSIG DNSKEY 13 3 3600"},
		"+dnssec chat.example.org CDS":        {"IN CDS", " 13 2 ", "IN RRSIG CDS"},
		"+dnssec chat.example.org CDNSKEY":    {"IN CDNSKEY 257 3 13", "IN RRSIG CDNSKEY"},
		"+dnssec chat.example.org MX":         {"status: NOERROR", "ANSWER: 0; AUTHORITY: 4", "IN NSEC", "IN RRSIG NSEC", "IN RRSIG SOA"},
		"+dnssec nobody.chat.example.org A":   {"status: NXDOMAIN", "IN RRSIG NSEC"},
		"+dnssec chat.example.org ANY +notcp": {"IN HINFO", "IN RRSIG HINFO"},
		"+dnssec eu.example.net A":            {"IN RRSIG A 13 3 20"},
		"+dnssec +notcp _meridian._tcp.chat.example.org SRV": {
			"IN SRV 1 1 8443 eu-west.chat.example.org.", "IN RRSIG SRV 13 5 20", "IN RRSIG A 13 4 20", "IN RRSIG AAAA 13 4 20", "!WARNING",
		},
		"+dnssec +notcp chat.example.org HTTPS": {
			"chat.example.org. 20 IN HTTPS 1 eu-west.chat.example.org.", "IN RRSIG HTTPS 13 3 20",
		},
		"+dnssec +notcp explain.chat.example.org AAAA": {
			"status: NOERROR", "ANSWER: 0; AUTHORITY: 4", "IN RRSIG SOA", "IN RRSIG NSEC",
		},
		"+dnssec chat.example.org DS": {
			"status: NOERROR", "ANSWER: 0; AUTHORITY: 4", "chat.example.org. 20 IN NSEC",
		},
		"+nodnssec chat.example.org A": {"!RRSIG"},
		"+cookie chat.example.org A":   {"COOKIE", "status: NOERROR"},
		"+tcp +keepopen chat.example.org A chat.example.org AAAA nobody.chat.example.org A": {"IN A 127.0.0.12", "status: NXDOMAIN"},
		"+nsid chat.example.org A": {"router-7"},
	})
}

var keyFields = regexp.MustCompile(`(?m)^[^;].*$`)

// delv validates what is there, what has nothing of a type and what does not exist, by a trust anchor of our key, and nothing by
// another's. BIND's tools read our key files and derive the DS record that we print.
func TestConformanceDelv(t *testing.T) {
	s, addr := conformanceServer(t)
	dir := s.opts.Serving.DNSSEC.KeyDir
	anchor := func(k *keys.Key) string {
		ds := k.DS(0)
		file := filepath.Join(t.TempDir(), "anchors")
		text := strings.Join([]string{"trust-anchors {", k.Zone, "static-ds", ds.String()[strings.Index(ds.String(), "DS\t")+3:], "; };"}, " ")
		fields := strings.Fields(text)
		i := slices.Index(fields, "static-ds")
		fields[i+4] = `"` + fields[i+4] + `"`
		if err := os.WriteFile(file, []byte(strings.Join(fields, " ")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return "-a " + file + " +root=" + k.Zone + " "
	}
	delv := tool(t, "delv", addr)
	key := s.signer.Load().keys[signedZones[0]][0]
	good := anchor(key)
	cases := map[string][]string{}
	for question, want := range map[string][]string{
		"chat.example.org A":                  {"; fully validated", "IN A 127.0.0."},
		"chat.example.org AAAA":               {"; fully validated"},
		"chat.example.org HTTPS":              {"; fully validated"},
		"chat.example.org CAA":                {"; fully validated"},
		"chat.example.org NS":                 {"; fully validated"},
		"chat.example.org SOA":                {"; fully validated"},
		"chat.example.org DNSKEY":             {"; fully validated"},
		"chat.example.org CDS":                {"; fully validated"},
		"_meridian._tcp.chat.example.org SRV": {"; fully validated"},
		"explain.chat.example.org TXT":        {"; fully validated", "region="},
		"chat.example.org MX":                 {"; negative response, fully validated", "ncache nxrrset"},
		"ap-south.chat.example.org AAAA":      {"; negative response, fully validated", "ncache nxrrset"},
		"_tcp.chat.example.org A":             {"; negative response, fully validated", "ncache nxrrset"},
		"nobody.chat.example.org A":           {"; negative response, fully validated", "ncache nxdomain"},
		"a.b.c.chat.example.org TXT":          {"; negative response, fully validated", "ncache nxdomain"},
		"zzzz.chat.example.org A":             {"; negative response, fully validated", "ncache nxdomain"},
		"eXplain.chat.example.org HTTPS":      {"; negative response, fully validated", "ncache nxrrset"},
		"eu-west.chat.example.org A":          {"; fully validated", "IN A 127.0.0.12"},
		"in.chat.example.org A":               {"; fully validated", "IN A 127.0.0.13"},
		"chat.example.org A +vtrace":          {"chat.example.org/A: verify rdataset", "success", "marking as secure", "; fully validated"},
		"ap-south.chat.example.org SRV +vtrace": {
			"ap-south.chat.example.org/NSEC: verify rdataset", "nonexistence proof(s) found", "; negative response, fully validated",
		},
	} {
		cases[good+question] = want
	}
	other := anchor(s.signer.Load().keys[signedZones[1]][0])
	cases[other+"eu.example.net A"] = []string{"; fully validated"}
	stranger, err := keys.New(signedZones[0], nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cases[anchor(stranger)+"chat.example.org A"] = []string{"!validated", "resolution failed"}
	conforms(t, delv, cases)

	files, err := filepath.Glob(filepath.Join(dir, "K"+signedZones[0]+"*.key"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	path, err := exec.LookPath("dnssec-dsfromkey")
	if err != nil {
		t.Fatal("dnssec-dsfromkey is not installed: run scripts/deps.sh (Debian package bind9-utils)")
	}
	out, err := exec.CommandContext(t.Context(), path, "-2", files[0]).CombinedOutput()
	ds := key.DS(0)
	if want := strings.ToUpper(ds.Digest); err != nil || !strings.Contains(strings.ReplaceAll(string(out), " ", ""), want) {
		t.Errorf("dnssec-dsfromkey: %v, got %s, want %s", err, keyFields.FindString(string(out)), want)
	}
}
