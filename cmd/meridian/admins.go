package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/wire"
)

// regionAdmins are the admin listeners of one region's nodes.
type regionAdmins struct {
	region chat.Region
	bases  []string
	token  string
}

// findAdmins gives those of every region, sorted: of a configuration file, or without one of the local `up` of data.
func findAdmins(data, file string) ([]regionAdmins, error) {
	var all []regionAdmins
	if file == "" {
		r, err := findUp(data)
		if err != nil {
			return nil, err
		}
		for _, region := range slices.Sorted(maps.Keys(r.Regions)) {
			all = append(all, regionAdmins{region: region, bases: []string{"http://" + r.Regions[region].Admin}, token: r.AdminToken})
		}
		return all, nil
	}
	cfg, err := config.Load(file)
	if err != nil {
		return nil, failed(err)
	}
	s, err := loadSecrets(cfg)
	if err != nil {
		return nil, failed(err)
	}
	for _, name := range cfg.Topology().Regions {
		region, _ := cfg.Region(name)
		one := regionAdmins{region: name, token: s.adminToken}
		for _, n := range region.NodeList() {
			one.bases = append(one.bases, "http://"+n.Admin)
		}
		all = append(all, one)
	}
	return all, nil
}

// adminsOf gives those of one region.
func adminsOf(data, file string, region chat.Region) (regionAdmins, error) {
	all, err := findAdmins(data, file)
	if err != nil {
		return regionAdmins{}, err
	}
	var known []chat.Region
	for _, one := range all {
		if one.region == region {
			return one, nil
		}
		known = append(known, one.region)
	}
	return regionAdmins{}, &exitError{code: exitUsage, what: fmt.Sprintf("%q is not a region; known: %v", region, known)}
}

// call asks the first of the region's nodes that answers.
func (a regionAdmins) call(ctx context.Context, method, path string, into any) error {
	var last error
	for _, base := range a.bases {
		last = callAdmin(ctx, base+path, a.token, method, into)
		var exit *exitError
		if !errors.As(last, &exit) || exit.code != exitUnreachable {
			return last
		}
	}
	return last
}

// callAdmin makes a call with the admin token and reads the answer. An error of the other side chooses the exit code.
func callAdmin(ctx context.Context, url, token, method string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return &exitError{code: exitUnreachable, what: "no answer: " + err.Error(), next: "meridian status"}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var e wire.Error
		if json.Unmarshal(body, &e) != nil {
			e.Message = resp.Status
		}
		return &exitError{code: exitOf(e.Code), what: fmt.Sprintf("%s: %s", e.Code, e.Message)}
	}
	return json.Unmarshal(body, into)
}
