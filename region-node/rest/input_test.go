package rest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"meridian/chat"
	"meridian/region-node/wire"
)

func credentials(username, password string) string {
	return `{"username":"` + username + `","password":"` + password + `"}`
}

// badInput are requests, and what refuses them; bob and carol have signed up. ACCESS, REFRESH and FORGED stand for bob's
// tokens, USER for his id.
var badInput = map[string]struct {
	method, path, token string
	body                string
	want                chat.Code
	says                string
}{
	"not JSON":                   {"POST", "/v1/signup", "", `{"username":`, chat.CodeInvalid, "JSON"},
	"two values":                 {"POST", "/v1/signup", "", credentials("dave", password) + "{}", chat.CodeInvalid, "JSON"},
	"no body":                    {"POST", "/v1/signup", "", "", chat.CodeInvalid, "JSON object"},
	"an array":                   {"POST", "/v1/signup", "", "[]", chat.CodeInvalid, "JSON object"},
	"null":                       {"POST", "/v1/login", "", "null", chat.CodeInvalid, "JSON object"},
	"wrong type":                 {"POST", "/v1/signup", "", `{"username":17,"password":"x"}`, chat.CodeInvalid, `"username" must be string, not number`},
	"wrong type of refresh":      {"POST", "/v1/token", "", `{"refresh_token":{}}`, chat.CodeInvalid, "refresh_token"},
	"missing username":           {"POST", "/v1/signup", "", `{"password":"12345678"}`, chat.CodeInvalid, `"username" is missing`},
	"missing password":           {"POST", "/v1/login", "", `{"username":"bob"}`, chat.CodeInvalid, `"password" is missing`},
	"not UTF-8":                  {"POST", "/v1/signup", "", credentials("d\xffve", password), chat.CodeInvalidUTF8, "UTF-8"},
	"too large":                  {"POST", "/v1/signup", "", credentials("dave", strings.Repeat("x", 70_000)), chat.CodeTooLarge, "65536"},
	"short name":                 {"POST", "/v1/signup", "", credentials("da", password), chat.CodeInvalid, "username"},
	"odd name":                   {"POST", "/v1/signup", "", credentials("da ve", password), chat.CodeInvalid, "username"},
	"invisible name":             {"POST", "/v1/signup", "", credentials(`dave\u200b`, password), chat.CodeInvalid, "username"},
	"half a surrogate":           {"POST", "/v1/signup", "", credentials(`dave\ud800`, password), chat.CodeInvalid, "username"},
	"short password":             {"POST", "/v1/signup", "", credentials("dave", "1234567"), chat.CodeInvalid, "password"},
	"long password":              {"POST", "/v1/signup", "", credentials("dave", strings.Repeat("x", 2000)), chat.CodeInvalid, "password"},
	"long display name":          {"POST", "/v1/signup", "", `{"username":"dave","password":"12345678","display_name":"` + strings.Repeat("x", 65) + `"}`, chat.CodeInvalid, "display_name"},
	"turned display name":        {"POST", "/v1/signup", "", `{"username":"dave","password":"12345678","display_name":"a\u202eb"}`, chat.CodeInvalid, "display_name"},
	"name taken":                 {"POST", "/v1/signup", "", credentials("BOB", password), chat.CodeUsernameTaken, "taken"},
	"name taken by look-alike":   {"POST", "/v1/signup", "", credentials("b0b", password), chat.CodeUsernameTaken, "taken"},
	"wrong password":             {"POST", "/v1/login", "", credentials("bob", "wrong horse"), chat.CodeBadCredentials, "unknown user or wrong password"},
	"unknown user":               {"POST", "/v1/login", "", credentials("nobody", password), chat.CodeBadCredentials, "unknown user or wrong password"},
	"impossible user":            {"POST", "/v1/login", "", credentials("../..", password), chat.CodeBadCredentials, "unknown user or wrong password"},
	"password past all limits":   {"POST", "/v1/login", "", credentials("bob", strings.Repeat("x", 2000)), chat.CodeBadCredentials, "unknown user or wrong password"},
	"refresh with access token":  {"POST", "/v1/token", "", `{"refresh_token":"ACCESS"}`, chat.CodeUnauthorized, "use"},
	"refresh with garbage":       {"POST", "/v1/token", "", `{"refresh_token":"x"}`, chat.CodeUnauthorized, "valid"},
	"no token":                   {"GET", "/v1/me", "", "", chat.CodeUnauthorized, "missing"},
	"garbage token":              {"GET", "/v1/me", "x.y.z", "", chat.CodeUnauthorized, "valid"},
	"refresh token as access":    {"GET", "/v1/me", "REFRESH", "", chat.CodeUnauthorized, "use"},
	"forged token":               {"GET", "/v1/me", "FORGED", "", chat.CodeUnauthorized, "valid"},
	"unknown path":               {"GET", "/v1/nothing", "ACCESS", "", chat.CodeNotFound, ""},
	"root":                       {"GET", "/", "", "", chat.CodeNotFound, ""},
	"path with dots":             {"GET", "/v1/users/../me", "ACCESS", "", chat.CodeNotFound, ""},
	"path with coded dots":       {"GET", "/v1/users/%2e%2e", "ACCESS", "", chat.CodeNotFound, ""},
	"path with two slashes":      {"GET", "/v1//me", "ACCESS", "", chat.CodeNotFound, ""},
	"path with a slash too many": {"GET", "/v1/me/", "ACCESS", "", chat.CodeNotFound, ""},
	"unknown user's profile":     {"GET", "/v1/users/nobody", "ACCESS", "", chat.CodeUnknownUser, ""},
	"profile of no name":         {"GET", "/v1/users/a%2Fb%00c", "ACCESS", "", chat.CodeUnknownUser, ""},
	"unknown contact":            {"PUT", "/v1/contacts/nobody", "ACCESS", "", chat.CodeUnknownUser, ""},
	"contact with oneself":       {"PUT", "/v1/contacts/BOB", "ACCESS", "", chat.CodeInvalid, "your own"},
	"block of oneself":           {"PUT", "/v1/blocks/bob", "ACCESS", "", chat.CodeInvalid, "your own"},
	"limit is no number":         {"GET", "/v1/contacts?limit=ten", "ACCESS", "", chat.CodeInvalid, "limit"},
	"limit is 0":                 {"GET", "/v1/conversations?limit=0", "ACCESS", "", chat.CodeInvalid, "limit"},
	"after is no id":             {"GET", "/v1/contacts?after=x", "ACCESS", "", chat.CodeInvalid, "after"},
	"before is no id":            {"GET", "/v1/conversations?before=x", "ACCESS", "", chat.CodeInvalid, "before"},
	"before is no message":       {"GET", "/v1/conversations?before=USER", "ACCESS", "", chat.CodeInvalid, "before"},
	"conversation is no id":      {"GET", "/v1/conversations/x/messages", "ACCESS", "", chat.CodeInvalid, "conversation id"},
	"unknown conversation":       {"GET", "/v1/conversations/USER/messages", "ACCESS", "", chat.CodeUnknownConversation, ""},
}

// Every kind of bad input has its typed answer, which names what is wrong, and is counted by its code.
func TestBadInput(t *testing.T) {
	c := newCluster(t, nil)
	bob := c.signUp("us-east", "bob", "")
	c.signUp("us-east", "carol", "")
	fill := strings.NewReplacer("ACCESS", bob.Token, "REFRESH", bob.RefreshToken, "USER", bob.UserID,
		"FORGED", bob.Token[:len(bob.Token)-8]+"AAAAAAAA")
	counted := map[chat.Code]int{}
	for name, b := range badInput {
		b.path, b.body = fill.Replace(b.path), fill.Replace(b.body)
		b.token = fill.Replace(b.token)
		var body any
		if b.body != "" {
			body = b.body
		}
		w := c.request("us-east", b.method, b.path, b.token, body)
		counted[b.want]++
		if w.Code != chat.Codes[b.want].HTTPStatus || !strings.Contains(w.Body.String(), `"code":"`+string(b.want)+`"`) ||
			!strings.Contains(strings.ReplaceAll(w.Body.String(), `\"`, `"`), b.says) {
			t.Errorf("%s: %d %s, want %s saying %q", name, w.Code, w.Body, b.want, b.says)
		}
		if got := w.Header().Get("Content-Type"); got != "application/json; charset=utf-8" {
			t.Errorf("%s: Content-Type %q", name, got)
		}
	}
	for code, n := range counted {
		if got := c.regions["us-east"].metrics.get("refused_total " + string(code)); got != n {
			t.Errorf("%d refusals counted as %s, want %d", got, code, n)
		}
	}
}

// A method that a path does not have is refused with those that it has.
func TestMethodNotAllowed(t *testing.T) {
	c := newCluster(t, nil)
	for path, allow := range map[string]string{
		"/v1/signup": "POST, OPTIONS", "/v1/me": "GET, HEAD, OPTIONS", "/v1/contacts/bob": "DELETE, PUT, OPTIONS",
		"/v1/me/sessions": "DELETE, GET, HEAD, OPTIONS",
	} {
		w := c.request("us-east", "PATCH", path, "", nil)
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != allow || !strings.Contains(w.Body.String(), "method_not_allowed") {
			t.Errorf("PATCH %s: %d, Allow %q, %s", path, w.Code, w.Header().Get("Allow"), w.Body)
		}
	}
}

// A token that has expired is refused, and one just issued by a clock a little ahead is not.
func TestTokensExpire(t *testing.T) {
	c := newCluster(t, nil)
	bob := c.signUp("us-east", "bob", "")
	c.pass(-time.Second)
	want[wire.Me](c, 200, "us-east", "GET", "/v1/me", bob.Token, nil)
	c.pass(c.config.Security.TokenTTL + 4*time.Second)
	e := c.refused(chat.CodeUnauthorized, "us-east", "GET", "/v1/me", bob.Token, nil)
	if !strings.Contains(e.Message, "expired") {
		t.Errorf("%+v", e)
	}
	want[wire.Login](c, 200, "us-east", "POST", "/v1/token", "", obj{"refresh_token": bob.RefreshToken})
	c.pass(c.config.Security.RefreshTTL)
	c.refused(chat.CodeUnauthorized, "us-east", "POST", "/v1/token", "", obj{"refresh_token": bob.RefreshToken})
}

// Pages of allowed origins may call with a token, also after a preflight; others get no leave; nothing uses cookies.
func TestCORS(t *testing.T) {
	c := newCluster(t, nil)
	call := func(method, origin string, headers ...string) http.Header {
		r := httptest.NewRequest(method, "/v1/me", nil)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		c.regions["us-east"].handler.ServeHTTP(w, r)
		if w.Header().Get("Set-Cookie") != "" || w.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s from %q: cookies: %v", method, origin, w.Header())
		}
		return w.Header()
	}
	const allowed, other = "https://app.test", "https://evil.test"
	for _, h := range []http.Header{call("GET", allowed), call("OPTIONS", allowed, "Access-Control-Request-Method", "PUT")} {
		if h.Get("Access-Control-Allow-Origin") != allowed || h.Get("Vary") != "Origin" {
			t.Errorf("allowed origin: %v", h)
		}
	}
	preflight := call("OPTIONS", allowed, "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "authorization")
	if !strings.Contains(preflight.Get("Access-Control-Allow-Headers"), "Authorization") || !strings.Contains(preflight.Get("Access-Control-Allow-Methods"), "PUT") {
		t.Errorf("preflight: %v", preflight)
	}
	for _, h := range []http.Header{call("GET", other), call("GET", ""), call("OPTIONS", other, "Access-Control-Request-Method", "PUT")} {
		if h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Methods") != "" {
			t.Errorf("other origin: %v", h)
		}
	}
}

// Every answer has the headers that keep browsers from guessing, framing and storing, and a request id: the caller's where
// it is one.
func TestHeaders(t *testing.T) {
	c := newCluster(t, nil)
	for given, kept := range map[string]bool{"": false, "edge-12345678": true, "short": false, "with space and\"quotes": false} {
		r := httptest.NewRequest("GET", "/v1/me", nil)
		r.Header.Set("X-Request-Id", given)
		w := httptest.NewRecorder()
		c.regions["us-east"].handler.ServeHTTP(w, r)
		id := w.Header().Get("X-Request-Id")
		if (id == given) != kept || len(id) < 8 {
			t.Errorf("request id %q answered with %q", given, id)
		}
		for name, value := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "WWW-Authenticate": "Bearer",
		} {
			if got := w.Header().Get(name); got != value {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	m := c.regions["us-east"].metrics
	if m.get("requests_total /v1/me 401") != 4 || m.get("request_seconds /v1/me") != 4 {
		t.Errorf("counted: %v", m.n)
	}
}
