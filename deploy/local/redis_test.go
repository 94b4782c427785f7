package local_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"meridian/deploy/local"
	"meridian/deploy/local/localtest"
)

// redisTold sends lines to a Redis, after a log-in if password is not empty, and gives the last answer.
func redisTold(t *testing.T, a local.RedisAccess, password string, commands ...string) string {
	t.Helper()
	conn, err := a.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if password != "" {
		commands = append([]string{"AUTH " + password}, commands...)
	}
	answers, last := bufio.NewReader(conn), ""
	for _, command := range commands {
		fmt.Fprintf(conn, "%s\r\n", command)
		if last, err = answers.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return strings.TrimSpace(last)
}

func redisPassword(t *testing.T, a local.RedisAccess) string {
	t.Helper()
	password, err := a.Password()
	if err != nil {
		t.Fatal(err)
	}
	return password
}

// A Redis lets nobody in without its password, which stands in files of its owner only.
func TestRedisRefuses(t *testing.T) {
	r := localtest.Redis(t, local.RedisOptions{})
	a := r.Access()
	if got := redisTold(t, a, "", "PING"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("without a password: %q", got)
	}
	if got := redisTold(t, a, "guess"); !strings.HasPrefix(got, "-WRONGPASS") {
		t.Errorf("with a wrong one: %q", got)
	}
	for _, file := range []string{a.PasswordFile, strings.Replace(a.PasswordFile, "password", "redis.conf", 1)} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", file, info.Mode(), err)
		}
	}
}

// With an append-only file a Redis keeps what it had through a restart; without one it begins empty. Flush drops it all.
func TestRedisKeeps(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		r := localtest.Redis(t, local.RedisOptions{AppendOnly: keeps})
		a := r.Access()
		password := redisPassword(t, a)
		redisTold(t, a, password, "SET k v")
		if err := r.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := redisTold(t, a, password, "EXISTS k"); got != map[bool]string{true: ":1", false: ":0"}[keeps] {
			t.Errorf("append only %v: after a restart EXISTS answers %q", keeps, got)
		}
		redisTold(t, a, password, "SET k v")
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := redisTold(t, a, password, "EXISTS k"); got != ":0" {
			t.Errorf("after a flush EXISTS answers %q", got)
		}
	}
}
