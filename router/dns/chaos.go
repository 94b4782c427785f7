package dns

import (
	"os"
	"strings"

	"github.com/miekg/dns"

	"meridian/config"
)

// chaos answers who the server is, in class CHAOS (RFC 4892), where the configuration lets it.
func (s *Server) chaos(a *answer, q dns.Question) {
	var text string
	switch strings.ToLower(q.Name) {
	case "id.server.", "hostname.bind.":
		text = s.id
	case "version.server.", "version.bind.":
		text = s.version
	}
	if text == "" {
		a.msg.Rcode = dns.RcodeRefused
		return
	}
	a.msg.Authoritative = true
	if q.Qtype != dns.TypeTXT && q.Qtype != dns.TypeANY {
		return // the name is there, and has nothing else
	}
	a.msg.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS}, Txt: []string{text}}}
}

// told gives what a setting of the name server's own words says; "" hides.
func told(setting string) (string, error) {
	switch setting {
	case config.Off:
		return "", nil
	case config.OwnHostname:
		return os.Hostname()
	}
	return setting, nil
}
