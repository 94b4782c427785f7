package process

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"meridian/chat"
	"meridian/config"
	meridian "meridian/sdk/go"
	"meridian/test/cluster"
)

// badInput is one deployment, and two people of it who behave.
type badInput struct {
	t          *testing.T
	c          *cluster.Cluster
	base       string
	ada, grace meridian.Account
}

const (
	badHeartbeat = 2 * time.Second
	// helloWithin is how soon the first frame must come, and noHelloWithin when a socket without one must be closed: before it would be by
	// the default.
	helloWithin   = 2 * time.Second
	noHelloWithin = 9 * time.Second
)

// Whatever comes in through the real socket is refused with its own code, counted, and harms nobody: afterwards two people
// chat on the same node.
func TestBadInputIsRefused(t *testing.T) {
	c := start(t, func(cfg *config.Config) {
		cfg.Limits.SendQueueBytes = 128 << 10
		cfg.Limits.SendsPerSecond = 1000
		cfg.Timing.Heartbeat = badHeartbeat
		cfg.Timing.HelloTimeout = helloWithin
		cfg.Timing.WriteTimeout = 2 * time.Second
	})
	b := &badInput{t: t, c: c, base: c.URL("eu-west")}
	api := &meridian.API{BaseURL: b.base}
	var err error
	if b.ada, err = signUp(t.Context(), api, meridian.SignUp{Username: "ada.lovelace", Password: password}); err != nil {
		t.Fatal(err)
	}
	if b.grace, err = signUp(t.Context(), api, meridian.SignUp{Username: "grace", Password: password}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		name string
		run  func(*testing.T, *badInput)
	}{
		{"frames", badFrames},
		{"frames that end the socket", fatalFrames},
		{"client id used twice", reusedClientID},
		{"tokens", badTokens},
		{"first frame", badHellos},
		{"silence", silence},
		{"slow reader", slowReader},
		{"requests", badRequests},
		{"upgrades", badUpgrades},
		{"compressed frames", bombs},
	} {
		t.Run(part.name, func(t *testing.T) {
			part.run(t, &badInput{t: t, c: c, base: b.base, ada: b.ada, grace: b.grace})
		})
	}
	b.stillServes()
	b.counted()
}

func sendTo(user, text string) string {
	return fmt.Sprintf(`{"t":"send","client_id":%q,"to":{"user":%q},"body":{"text":%q}}`, meridian.NewClientID(), user, text)
}

// badFrames: a frame that is refused alone; the socket goes on.
func badFrames(t *testing.T, b *badInput) {
	r, _ := welcomed(t, b.base, b.ada.Access, "")
	limits := b.c.Config.Limits
	for _, test := range []struct{ name, frame, code string }{
		{"not JSON", `{"t":`, "bad_frame"},
		{"not an object", `["send"]`, "bad_frame"},
		{"a number", `7`, "bad_frame"},
		{"empty", ``, "bad_frame"},
		{"without t", `{"client_id":"x"}`, "bad_frame"},
		{"two objects", `{"t":"ping"}{"t":"ping"}`, "bad_frame"},
		{"unknown type", `{"t":"teleport"}`, "unknown_frame"},
		{"second hello", `{"t":"hello","token":"x"}`, "bad_frame"},
		{"t of another type", `{"t":5}`, "invalid"},
		{"client_id of another type", `{"t":"send","client_id":5}`, "invalid"},
		{"body of another type", `{"t":"send","client_id":"` + meridian.NewClientID() + `","to":{"user":"grace"},"body":"hello"}`, "invalid"},
		{"to is a list", `{"t":"send","client_id":"` + meridian.NewClientID() + `","to":["grace"],"body":{"text":"x"}}`, "invalid"},
		{"client_id is no UUID", `{"t":"send","client_id":"1","to":{"user":"grace"},"body":{"text":"x"}}`, "invalid"},
		{"no receiver", `{"t":"send","client_id":"` + meridian.NewClientID() + `","body":{"text":"x"}}`, "invalid"},
		{"no body", `{"t":"send","client_id":"` + meridian.NewClientID() + `","to":{"user":"grace"}}`, "invalid"},
		{"seen is no message id", strings.Replace(sendTo("grace", "x"), `{"t"`, `{"seen":"yesterday","t"`, 1), "invalid"},
		{"seen lies in the future", strings.Replace(sendTo("grace", "x"), `{"t"`, `{"seen":"00000000-0000-1fff-8000-000000000000","t"`, 1), "clock_skew"},
		{"unknown user", sendTo("nobody.at.all", "x"), "unknown_user"},
		{"oneself", sendTo("ada.lovelace", "x"), "self_message"},
		{"oneself, written otherwise", sendTo("ADA.Lovelace", "x"), "self_message"},
		{"no text", sendTo("grace", ""), "empty_text"},
		{"blanks only", sendTo("grace", " \t\n"), "empty_text"},
		{"text over the limit", sendTo("grace", strings.Repeat("x", limits.TextBytes+1)), "too_large"},
		{"frame over the limit", sendTo("grace", strings.Repeat("x", limits.FrameBytes)), "too_large"},
		{"nested deeply", strings.Repeat(`{"t":`, 12000), "bad_frame"},
		{"unknown conversation", `{"t":"send","client_id":"` + meridian.NewClientID() + `","to":{"conversation":"` + meridian.NewClientID() + `"},"body":{"text":"x"}}`, "unknown_conversation"},
		{"after what was never sent", strings.Replace(sendTo("grace", "x"), `{"t"`, `{"after":"`+meridian.NewClientID()+`","t"`, 1), "after_unknown"},
		{"read of an unknown conversation", `{"t":"read","conversation_id":"` + meridian.NewClientID() + `","message_id":"` + meridian.NewClientID() + `"}`, "invalid unknown_conversation unknown_message"},
	} {
		r.text(websocket.TextMessage, test.frame)
		if code, closed := r.outcome(false); closed != 0 || !strings.Contains(" "+test.code+" ", " "+code+" ") || code == "" {
			t.Errorf("%s: got %q (closed with %d), want %q", test.name, code, closed, test.code)
			if closed != 0 {
				r, _ = welcomed(t, b.base, b.ada.Access, "")
			}
		}
	}
	r.text(websocket.TextMessage, `{"t":"ping"}`)
	r.want("pong")
}

// fatalFrames: what ends the socket, with the close code of the protocol.
func fatalFrames(t *testing.T, b *badInput) {
	for _, test := range []struct {
		name   string
		kind   int
		data   string
		closed int
	}{
		{"invalid UTF-8", websocket.TextMessage, "{\"t\":\"\xff\xfe\"}", 1007},
		{"binary", websocket.BinaryMessage, `{"t":"ping"}`, 1003},
		{"far too large", websocket.TextMessage, strings.Repeat("x", 10*b.c.Config.Limits.FrameBytes), 1009},
	} {
		r, _ := welcomed(t, b.base, b.ada.Access, "")
		_ = r.conn.WriteMessage(test.kind, []byte(test.data)) // it may be cut off while it writes
		if test.closed == 1009 {                              // what is still on its way to the server resets the connection, and may take the close frame with it
			for err := error(nil); err == nil; {
				_, err = r.next()
				if websocket.IsUnexpectedCloseError(err, 1009, 1006) {
					t.Errorf("%s: %v", test.name, err)
				}
			}
			continue
		}
		if _, closed := r.outcome(true); closed != test.closed {
			t.Errorf("%s: closed with %d, want %d", test.name, closed, test.closed)
		}
	}
}

// reusedClientID: the same key with the same text is the same message; with another text it is refused.
func reusedClientID(t *testing.T, b *badInput) {
	r, _ := welcomed(t, b.base, b.ada.Access, "")
	frame := sendTo("grace", "the first text")
	r.text(websocket.TextMessage, frame)
	first := r.want("ack")
	r.text(websocket.TextMessage, frame)
	for again := r.want("ack"); ; again = r.want("ack") {
		if again.MessageID != first.MessageID {
			t.Errorf("a retry became %s, not %s", again.MessageID, first.MessageID)
		}
		if again.ClientID == first.ClientID {
			break
		}
	}
	r.text(websocket.TextMessage, strings.Replace(frame, "first", "second", 1))
	if code, _ := r.outcome(false); code != "client_id_reused" {
		t.Errorf("the same key with another text: %q", code)
	}
}

// badTokens: expired, forged and of other algorithms; each is refused on the socket and in a request.
func badTokens(t *testing.T, b *badInput) {
	text, err := os.ReadFile(filepath.Join(b.c.Config.SecretsPath(), "token-world-1.key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	public := key.(ed25519.PrivateKey).Public().(ed25519.PublicKey)
	_, foreign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, _, err := jwt.NewParser().ParseUnverified(b.ada.Access, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(method jwt.SigningMethod, with any, kid string, change map[string]any) string {
		claims := jwt.MapClaims{}
		maps.Copy(claims, good.Claims.(jwt.MapClaims))
		maps.Copy(claims, change)
		token := jwt.NewWithClaims(method, claims)
		token.Header["kid"] = kid
		signed, err := token.SignedString(with)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	hour := time.Hour
	parts := strings.Split(b.ada.Access, ".")
	for name, token := range map[string]string{
		"none":              "",
		"nonsense":          "not.a.token",
		"expired":           sign(jwt.SigningMethodEdDSA, key, "world/1", map[string]any{"iat": time.Now().Add(-2 * hour).Unix(), "exp": time.Now().Add(-hour).Unix()}),
		"without expiry":    sign(jwt.SigningMethodEdDSA, key, "world/1", map[string]any{"exp": nil}),
		"forged":            sign(jwt.SigningMethodEdDSA, foreign, "world/1", nil),
		"of no algorithm":   sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "world/1", nil),
		"HMAC by the key":   sign(jwt.SigningMethodHS256, []byte(public), "world/1", nil),
		"of another zone":   sign(jwt.SigningMethodEdDSA, key, "world/1", map[string]any{"zone": "eu"}),
		"by unknown key":    sign(jwt.SigningMethodEdDSA, key, "../../etc/passwd", nil),
		"for another use":   b.ada.Refresh,
		"with other claims": parts[0] + "." + strings.Split(b.grace.Access, ".")[1] + "." + parts[2],
	} {
		r := dialRaw(t, b.base)
		r.write(map[string]string{"t": "hello", "token": token})
		if code, closed := r.outcome(true); code != "unauthorized" || closed != 4001 {
			t.Errorf("token %s: socket: %q, closed with %d", name, code, closed)
		}
		if status, code := b.request(http.MethodGet, "/v1/me", token, ""); status != 401 || code != "unauthorized" {
			t.Errorf("token %s: request: %d %q", name, status, code)
		}
	}
}

// badHellos: a socket that does not begin as it must.
func badHellos(t *testing.T, b *badInput) {
	for name, frame := range map[string]string{"send": sendTo("grace", "x"), "ping": `{"t":"ping"}`, "no JSON": "hello", "token of another type": `{"t":"hello","token":1}`} {
		r := dialRaw(t, b.base)
		r.text(websocket.TextMessage, frame)
		if code, closed := r.outcome(true); code == "" || closed == 1000 || closed < 1002 {
			t.Errorf("%s first: %q, closed with %d", name, code, closed)
		}
	}
	r := dialRaw(t, b.base)
	r.write(map[string]string{"t": "hello", "token": b.ada.Access, "resume": "a cursor of my own"})
	if f, err := r.next(); err != nil || f.T != "welcome" && f.Code != "invalid" {
		t.Errorf("a cursor that is none: %+v, %v; want a welcome with reset, or invalid", f, err)
	}
}

// silence: no hello in time, and a client that is there but says nothing (a half-open socket looks the same).
func silence(t *testing.T, b *badInput) {
	began := time.Now()
	if _, closed := dialRaw(t, b.base).outcome(true); closed != 4002 || time.Since(began) > noHelloWithin {
		t.Errorf("no hello: closed with %d after %v", closed, time.Since(began))
	}
	r, _ := welcomed(t, b.base, b.ada.Access, "")
	began = time.Now()
	if _, closed := r.outcome(true); closed != 4009 || time.Since(began) > 12*badHeartbeat {
		t.Errorf("silence: closed with %d after %v", closed, time.Since(began))
	}
}

// slowReader: one who stops reading is cut off, and gets all of it when it resumes by its cursor.
func slowReader(t *testing.T, b *badInput) {
	r, hello := welcomed(t, b.base, b.grace.Access, "")
	writer, _ := welcomed(t, b.base, b.ada.Access, "")
	r.deaf(t)
	alive := r.alive()
	const messages = 600
	padding := strings.Repeat("x", b.c.Config.Limits.TextBytes-100)
	sent, after := map[string]bool{}, ""
	for i := range messages { // some 10 MB: more than the kernel's buffers and the node's queue take
		id := meridian.NewClientID()
		frame := map[string]any{"t": "send", "client_id": id, "to": map[string]string{"user": "grace"}, "body": map[string]string{"text": fmt.Sprint(i, padding)}}
		if after != "" {
			frame["after"] = after
		}
		writer.write(frame)
		sent[writer.want("ack").MessageID] = true // perhaps that of an earlier one, at level zone
		after = id
	}
	for len(sent) < messages {
		sent[writer.want("ack").MessageID] = true
	}
	waitUntil(t, patience, "the slow reader is counted", func() bool {
		return b.c.Metric("eu-west", "slow_consumers_total") > 0
	})
	alive()
	cursor := hello.Cursor
	take := func(f rawFrame) {
		var m struct{ ID string }
		if f.T == "message" && json.Unmarshal(f.Message, &m) == nil {
			delete(sent, m.ID)
		}
		if f.Cursor != "" {
			cursor = f.Cursor
		}
	}
	before := len(sent)
	for {
		f, err := r.next()
		if err != nil {
			if websocket.IsUnexpectedCloseError(err, 4008, 1006) {
				t.Errorf("the slow reader was closed with %v", err)
			}
			break
		}
		take(f)
	}
	t.Logf("the slow reader had got %d of %d messages", before-len(sent), messages)
	again, welcome := welcomed(t, b.base, b.grace.Access, cursor)
	take(welcome)
	defer again.alive()()
	for end := time.Now().Add(patience); len(sent) > 0 && time.Now().Before(end); {
		f, err := again.next()
		if err != nil {
			t.Fatalf("resume: %v; %d messages are missing", err, len(sent))
		}
		take(f)
	}
	if len(sent) > 0 {
		t.Errorf("%d of %d messages never came", len(sent), messages)
	}
}

// badRequests: the REST calls refuse with their own codes too.
func badRequests(t *testing.T, b *badInput) {
	long := strings.Repeat("x", b.c.Config.Limits.RequestBytes+1)
	account := func(name string) string {
		return fmt.Sprintf(`{"username":%q,"password":%q}`, name, password)
	}
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		code                     string
	}{
		{"name taken", "POST", "/v1/signup", account("ada.lovelace"), 409, "username_taken"},
		{"taken by case", "POST", "/v1/signup", account("ADA.Lovelace"), 409, "username_taken"},
		{"taken by a look-alike", "POST", "/v1/signup", account("ada.1ovelace"), 409, "username_taken"},
		{"taken by another script", "POST", "/v1/signup", account("аda.lovelace"), 409, "username_taken"},
		{"name too short", "POST", "/v1/signup", account("x"), 400, "invalid"},
		{"name with a blank", "POST", "/v1/signup", account("ada lovelace"), 400, "invalid"},
		{"password too short", "POST", "/v1/signup", `{"username":"somebody","password":"x"}`, 400, "invalid"},
		{"unknown zone", "POST", "/v1/signup", `{"username":"somebody","password":"` + password + `","zone":"moon"}`, 403, "zone_not_allowed"},
		{"wrong password", "POST", "/v1/login", `{"username":"grace","password":"wrong password"}`, 401, "bad_credentials"},
		{"unknown user", "POST", "/v1/login", account("nobody.at.all"), 401, "bad_credentials"},
		{"not JSON", "POST", "/v1/login", `{"username":`, 400, "invalid"},
		{"wrong type", "POST", "/v1/login", `{"username":5,"password":[]}`, 400, "invalid"},
		{"too large", "POST", "/v1/login", `{"username":"` + long + `"}`, 413, "too_large"},
		{"forged refresh token", "POST", "/v1/token", `{"refresh_token":"a.b.c"}`, 401, "unauthorized"},
		{"no such path", "GET", "/v1/teleport", "", 404, "not_found"},
		{"wrong method", "DELETE", "/v1/me", "", 405, "method_not_allowed"},
		{"unknown conversation", "GET", "/v1/conversations/" + meridian.NewClientID() + "/messages", "", 404, "unknown_conversation"},
		{"no conversation id", "GET", "/v1/conversations/x/messages", "", 400, "invalid"},
		{"limit is no number", "GET", "/v1/conversations?limit=many", "", 400, "invalid"},
		{"unknown profile", "GET", "/v1/users/nobody.at.all", "", 404, "unknown_user"},
		{"contact with oneself", "PUT", "/v1/contacts/ada.lovelace", "", 400, "invalid self_message"},
	} {
		status, code := b.request(test.method, test.path, b.ada.Access, test.body)
		if status != test.status || !strings.Contains(" "+test.code+" ", " "+code+" ") {
			t.Errorf("%s: %d %q, want %d %q", test.name, status, code, test.status, test.code)
		}
	}
}

// request makes a call and gives its status and code. The calls before a log-in carry no token.
func (b *badInput) request(method, path, token, body string) (status int, code string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), rawLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, b.base+path, bytes.NewReader([]byte(body)))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if method != http.MethodPost && token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	var refused struct{ Code string }
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = json.Unmarshal(text, &refused) // an answer without a code has none
	return answer.StatusCode, refused.Code
}

// badUpgrades: requests for a socket that are none.
func badUpgrades(t *testing.T, b *badInput) {
	if status, _ := b.request(http.MethodGet, "/v1/ws", "", ""); status < 400 || status >= 500 {
		t.Errorf("a plain request for the socket: %d", status)
	}
	dialer := websocket.Dialer{Subprotocols: []string{"meridian.v1.json"}}
	_, answer, err := dialer.Dial("ws"+strings.TrimPrefix(b.base, "http")+"/v1/ws", http.Header{"Origin": {"https://evil.example"}})
	if err == nil || answer == nil || answer.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign page may open a socket: %v", err)
	}
}

// stillServes: after all that, somebody writes and somebody reads.
func (b *badInput) stillServes() {
	b.t.Helper()
	from, _ := welcomed(b.t, b.base, b.ada.Access, "")
	to, _ := welcomed(b.t, b.base, b.grace.Access, "")
	from.text(websocket.TextMessage, sendTo("grace", "still there?"))
	ack := from.want("ack")
	for {
		var m struct{ ID string }
		if f := to.want("message"); json.Unmarshal(f.Message, &m) == nil && m.ID == ack.MessageID {
			break
		}
	}
	if status, _ := b.request(http.MethodGet, "/readyz", "", ""); status != http.StatusOK {
		b.t.Errorf("not ready afterwards: %d", status)
	}
}

// counted: every kind of refusal stands in the metrics.
func (b *badInput) counted() {
	b.t.Helper()
	const region chat.Region = "eu-west"
	for _, code := range []meridian.Code{
		meridian.CodeInvalid, meridian.CodeBadFrame, meridian.CodeUnknownFrame, meridian.CodeTooLarge, meridian.CodeInvalidUTF8, meridian.CodeEmptyText,
		meridian.CodeSelfMessage, meridian.CodeUnauthorized, meridian.CodeBadCredentials, meridian.CodeUnknownUser, meridian.CodeUnknownConversation,
		meridian.CodeUsernameTaken, meridian.CodeClientIDReused, meridian.CodeAfterUnknown, meridian.CodeHelloTimeout, meridian.CodeHeartbeatTimeout,
		meridian.CodeNotFound, meridian.CodeMethodNotAllowed,
	} {
		if b.c.Metric(region, "refused_total", fmt.Sprintf(`code="%s"`, code)) == 0 {
			b.t.Errorf("refused_total{code=%q} is 0", code)
		}
	}
	if b.c.Metric(region, "heartbeat_timeouts_total") == 0 {
		b.t.Error("heartbeat_timeouts_total is 0")
	}
	if n := b.c.Metric(region, "defects_total", `kind="panic"`); n != 0 {
		b.t.Errorf("%v panics", n)
	}
}
