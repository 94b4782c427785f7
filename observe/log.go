package observe

import (
	"io"
	"log/slog"
)

// NewLogger writes lines to w, which must take concurrent writes. The values of keys that name content or a person
// (text, body, username, password, token …) are left out, ids are hashed, client addresses (client, remote_addr, ip) are
// cut to /24 or /48, and a value of a type that is not known to be harmless is written as its type's name. What stands in
// the message itself is the caller's to answer for: write words there, and values as attributes; of a request, log the
// route's pattern and not its path.
func NewLogger(w io.Writer, t Telemetry) *slog.Logger {
	options := &slog.HandlerOptions{Level: level(t.LogLevel), ReplaceAttr: newHider().attribute}
	if t.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func level(word string) slog.Level {
	switch word {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}
