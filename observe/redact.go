package observe

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"meridian/chat"
)

const (
	redacted = "[redacted]"
	// valueMaxBytes bounds a value in a log line; spanValueMaxBytes one in a span.
	valueMaxBytes     = 4096
	spanValueMaxBytes = 128
)

var uuidPattern = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// personalKeys are attributes whose value is never written, whatever its type.
var personalKeys = map[string]bool{
	"text": true, "body": true, "message_text": true, "username": true, "display_name": true, "user_name": true,
	"password": true, "token": true, "refresh_token": true, "authorization": true, "cookie": true, "secret": true, "query": true,
}

// clientKeys are attributes that hold a client's address: it is cut to its network.
var clientKeys = map[string]bool{"client": true, "client_addr": true, "remote": true, "remote_addr": true, "ip": true}

// hider hides ids behind a salted hash: the same id looks the same in one process and tells nothing outside it.
type hider struct{ salt [32]byte }

func newHider() *hider {
	h := &hider{}
	_, _ = rand.Read(h.salt[:]) // never fails (crypto/rand)
	return h
}

func (h *hider) id(text string) string {
	mac := hmac.New(sha256.New, h.salt[:])
	mac.Write([]byte(strings.ToLower(text)))
	return "#" + hex.EncodeToString(mac.Sum(nil)[:6])
}

// text hides the ids inside s and cuts it to max bytes.
func (h *hider) text(s string, limit int) string {
	s = uuidPattern.ReplaceAllStringFunc(s, h.id)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// attribute is slog's ReplaceAttr. What is of no type known to be harmless is written as the name of its type.
func (h *hider) attribute(_ []string, a slog.Attr) slog.Attr {
	key := strings.ToLower(a.Key)
	switch {
	case personalKeys[key]:
		return slog.String(a.Key, redacted)
	case clientKeys[key]:
		return slog.String(a.Key, network(a.Value.String()))
	}
	switch a.Value.Kind() {
	case slog.KindString:
		return slog.String(a.Key, h.text(a.Value.String(), valueMaxBytes))
	case slog.KindAny:
		return slog.String(a.Key, h.any(a.Value.Any()))
	default:
		return a
	}
}

func (h *hider) any(value any) string {
	switch v := value.(type) {
	case nil:
		return "none"
	case error:
		return h.text(v.Error(), valueMaxBytes)
	case slog.Level:
		return v.String()
	case netip.Addr:
		return network(v.String())
	case netip.AddrPort:
		return network(v.Addr().String())
	case net.Addr:
		return network(v.String())
	case chat.Region, chat.Zone, chat.Code, chat.AckLevel, chat.NodeID, chat.NodeRef, chat.StreamID, chat.Topology,
		[]chat.Region, []chat.Zone, []string, []int, time.Month, time.Weekday, chat.HLC, chat.OpKind, chat.MarkKind,
		chat.UserID, chat.OwnerID, chat.ConversationID, chat.MessageID, chat.ClientID, chat.SessionID, chat.UUID:
		return h.text(fmt.Sprint(v), valueMaxBytes)
	default:
		return fmt.Sprintf("[%T]", value)
	}
}

// network cuts an address, with or without a port, to /24 or /48.
func network(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return redacted
	}
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return redacted
	}
	return prefix.String()
}
