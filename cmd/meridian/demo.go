package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"meridian/chat"
)

// demoUsers are made by `up`, each "in" a city, so that a newcomer has somebody to talk to.
var demoUsers = []demo{
	{Username: "demo-paris", Password: "meridian-demo", City: "Paris", As: "80.67.169.12"},
	{Username: "demo-newyork", Password: "meridian-demo", City: "New York", As: "128.122.1.1"},
	{Username: "demo-mumbai", Password: "meridian-demo", City: "Mumbai", As: "49.36.0.1"},
}

// demoTimeout bounds the making of all demo users.
const demoTimeout = 8 * time.Second

// makeDemoUsers signs them up through the front door; on a later start they are there already.
func (u *up) makeDemoUsers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	for _, d := range demoUsers {
		body, err := json.Marshal(map[string]string{"username": d.Username, "password": d.Password, "display_name": d.City, "device": "demo"})
		if err != nil {
			continue
		}
		region, _ := u.deployment.cfg.Region(u.deployment.topology.Regions[0])
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+region.HTTP+"/v1/signup?as="+d.As, bytes.NewReader(body))
		if err != nil {
			continue
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			u.deployment.log.Warn("demo user not made", "user", d.Username, "err", err)
			continue
		}
		var e struct{ Code chat.Code }
		_ = json.NewDecoder(resp.Body).Decode(&e) // an answer without a code is a new account
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusCreated || e.Code == chat.CodeUsernameTaken {
			u.ready.DemoUsers = append(u.ready.DemoUsers, d)
		}
	}
}

// banner tells a newcomer what there is and what to try.
func (u *up) banner(w io.Writer, data string) {
	fmt.Fprintf(w, "\nMeridian is up: three regions, one system.\n\n")
	fmt.Fprintf(w, "  web client   %s   (open it twice, choose two cities)\n", u.ready.Web)
	for _, r := range u.deployment.cfg.Regions {
		fmt.Fprintf(w, "  %-12s http://%s   %s\n", r.Name, r.HTTP, r.City)
	}
	if host, port, err := net.SplitHostPort(u.ready.Router.DNS); err == nil {
		fmt.Fprintf(w, "  GeoDNS       dig @%s -p %s %s +subnet=81.2.69.0/24\n", host, port, u.deployment.cfg.Router.Domain)
	}
	fmt.Fprintf(w, "  log          %s\n\n", filepath.Join(data, "meridian.log"))
	for _, d := range u.ready.DemoUsers {
		fmt.Fprintf(w, "  demo user    %-14s password %s\n", d.Username, d.Password)
	}
	flag := ""
	if data != "data" {
		flag = " --data " + data
	}
	fmt.Fprintf(w, "\nTry in another terminal:\n")
	for _, c := range []string{"status -w", "explain ip 81.2.69.142", "region kill eu-west", "region start eu-west"} {
		fmt.Fprintf(w, "  bin/meridian %s%s\n", c, flag)
	}
	fmt.Fprintf(w, "\nCtrl-C ends it.\n")
}
