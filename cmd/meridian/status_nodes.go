package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"meridian/chat"
	"meridian/config"
	regionnode "meridian/region-node"
	"meridian/region-node/drain"
	"meridian/region-node/edge"
)

// nodeStatusTimeout bounds asking one node.
const nodeStatusTimeout = 3 * time.Second

// statusOf asks every node of a configuration at its admin listener. A region shows what the first of its nodes that is ready says, and
// runs while one answers.
func statusOf(ctx context.Context, file string) ([]regionState, error) {
	cfg, err := config.Load(file)
	if err != nil {
		return nil, failed(err)
	}
	s, err := loadSecrets(cfg)
	if err != nil {
		return nil, failed(err)
	}
	var out []regionState
	for _, region := range cfg.Topology().Regions {
		r, _ := cfg.Region(region)
		list := r.NodeList()
		answers := make([]*regionnode.Status, len(list))
		var asked sync.WaitGroup
		for i, n := range list {
			asked.Go(func() { answers[i] = askStatus(ctx, "http://"+n.Admin, s.adminToken) })
		}
		asked.Wait()
		state := regionState{Region: region}
		for i, n := range list {
			if answers[i] == nil {
				state.Gone = append(state.Gone, n.Name)
			} else if state.Status == nil || !state.Status.Ready && answers[i].Ready {
				state.Running, state.Status = true, answers[i]
			}
		}
		addDrains(&state, answers)
		addCertificates(&state, answers)
		if !state.Running {
			state.Gone = nil // all of them: the region is down
		}
		out = append(out, state)
	}
	return out, nil
}

// addDrains makes a region's progress that of all its nodes.
func addDrains(state *regionState, answers []*regionnode.Status) {
	if state.Status == nil || state.Status.Drain == nil {
		return
	}
	sum := drain.Progress{Order: state.Status.Drain.Order}
	for _, a := range answers {
		if a != nil && a.Drain != nil {
			sum.Left, sum.Asked, sum.Stay = sum.Left+a.Drain.Left, sum.Asked+a.Drain.Asked, sum.Stay+a.Drain.Stay
		}
	}
	state.Status.Drain = &sum
}

// askStatus gives a node's status; nil: it does not answer.
func askStatus(ctx context.Context, admin, token string) *regionnode.Status {
	ctx, cancel := context.WithTimeout(ctx, nodeStatusTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/v1/admin/status", nil)
	if err != nil {
		return nil
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	status := new(regionnode.Status)
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(status) != nil {
		return nil
	}
	return status
}

// serviceProblems are of services that no node of a region gives people now, and of nodes that do not answer.
func serviceProblems(r regionState) []problem {
	var found []problem
	for _, node := range r.Gone {
		found = append(found, problem{75, fmt.Sprintf("node %s of region %s is down", node, r.Region), "runbooks/region-failover.md"})
	}
	var taken [][]chat.Service
	for _, w := range r.Status.Services {
		if w.Taking {
			taken = append(taken, w.Services)
		}
	}
	if len(taken) > 0 { // else the region is not ready, and says why
		for _, s := range chat.MissingServices(taken...) {
			found = append(found, problem{88, fmt.Sprintf("no node of region %s serves %s", r.Region, s), "runbooks/region-failover.md"})
		}
	}
	return found
}

// printNodes shows what every node runs and how busy it is: requests under way, for chat sockets.
func (r statusReport) printNodes(w io.Writer) {
	fmt.Fprintf(w, "\n%-16s %-8s %s\n", "NODE", "STATE", "SERVICES (under way)")
	for _, region := range r.Regions {
		if region.Status == nil {
			continue
		}
		for _, node := range slices.Sorted(maps.Keys(region.Status.Services)) {
			word := region.Status.Services[node]
			fmt.Fprintf(w, "%-16s %-8s %s\n", chat.NodeRef{Region: region.Region, Node: node}, map[bool]string{true: "serving", false: "away"}[word.Taking], workOf(word))
		}
		for _, node := range region.Gone {
			fmt.Fprintf(w, "%-16s %-8s\n", chat.NodeRef{Region: region.Region, Node: node}, "DEAD")
		}
	}
}

func workOf(w edge.Word) string {
	parts := make([]string, len(w.Services))
	for i, s := range w.Services {
		parts[i] = fmt.Sprintf("%s %d", s, w.Load[s])
	}
	slices.SortFunc(parts, cmp.Compare)
	return strings.Join(parts, ", ")
}
