package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"meridian/chat"
	"meridian/config"
	regionnode "meridian/region-node"
	"meridian/region-node/verify"
)

// verifyReport is what `verify --json` prints.
type verifyReport struct {
	Compared []verify.Report `json:"compared"`
	// Skipped are the zones that could not be compared, and why.
	Skipped map[chat.Zone]string `json:"skipped,omitempty"`
	Owners  int                  `json:"owners"`
	Differ  int                  `json:"differ"`
	Brought int                  `json:"brought"`
}

type verifyFlags struct {
	data, config, zone string
	repair, json       bool
}

func verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use: "verify", Short: "Compare what the regions of each zone hold, and repair it",
		Long: `Compare, by digests of each mailbox and day, what the regions of each zone hold. With --repair each region brings its own rows of
what differs to all regions of the zone; nothing is deleted. A region whose store was restored from a backup is healed so.
Exit code 0 when nothing differs (any more), 3 when something differs or a zone could not be compared.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().StringVar(&f.data, "data", "data", "directory of the local deployment")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file of a deployment of processes, instead of --data")
	cmd.Flags().StringVar(&f.zone, "zone", "", "only this zone")
	cmd.Flags().BoolVar(&f.repair, "repair", false, "bring what differs to all regions of the zone")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

func (f verifyFlags) run(cmd *cobra.Command) error {
	a, err := f.admins()
	if err != nil {
		return err
	}
	zones, err := a.zones(cmd.Context())
	if err != nil {
		return failed(err)
	}
	report := verifyReport{Compared: []verify.Report{}, Skipped: map[chat.Zone]string{}}
	for _, zone := range sortedZones(zones) {
		if f.zone != "" && string(zone) != f.zone {
			continue
		}
		if err := f.compareZone(cmd, a, zone, zones[zone], &report); err != nil {
			return failed(err)
		}
	}
	if f.json {
		if err := printJSON(cmd.OutOrStdout(), report); err != nil {
			return err
		}
	} else {
		report.print(cmd.OutOrStdout(), f.repair)
	}
	if report.Differ > 0 && !f.repair || len(report.Skipped) > 0 {
		return &exitError{code: exitDegraded, what: fmt.Sprintf("%d mailboxes differ, %d zones were not compared", report.Differ, len(report.Skipped)), next: "meridian verify --repair"}
	}
	return nil
}

// compareZone compares the zone's first region with each of the others.
func (f verifyFlags) compareZone(cmd *cobra.Command, a *admins, zone chat.Zone, regions []chat.Region, report *verifyReport) error {
	if len(regions) < 2 {
		if len(regions) < a.served(zone) {
			report.Skipped[zone] = "a region of the zone does not answer"
		}
		return nil // one region has nobody to be compared with
	}
	for _, peer := range regions[1:] {
		progress := func(r verify.Report) {
			if !f.json && term.IsTerminal(int(os.Stderr.Fd())) {
				fmt.Fprintf(cmd.ErrOrStderr(), "\r%s: %s and %s, %d mailboxes, %d differ", zone, r.Region, r.Peer, r.Owners, r.Differ)
			}
		}
		r, err := a.verify(cmd.Context(), regions[0], peer, zone, f.repair, progress)
		if err != nil {
			return fmt.Errorf("zone %s, %s and %s: %w", zone, regions[0], peer, err)
		}
		if !f.json && term.IsTerminal(int(os.Stderr.Fd())) {
			fmt.Fprintln(cmd.ErrOrStderr())
		}
		report.Compared = append(report.Compared, r)
		report.Owners += r.Owners
		report.Differ += r.Differ
		report.Brought += r.Brought
	}
	return nil
}

func (r verifyReport) print(w io.Writer, repaired bool) {
	for _, c := range r.Compared {
		fmt.Fprintf(w, "%-10s %s and %s: %d mailboxes, %d differ (%d days)", c.Zone, c.Region, c.Peer, c.Owners, c.Differ, c.Days)
		if repaired {
			fmt.Fprintf(w, ", %d rows brought", c.Brought)
		}
		fmt.Fprintf(w, ", %d ms\n", c.TookMs)
	}
	for zone, why := range r.Skipped {
		fmt.Fprintf(w, "%-10s not compared: %s\n", zone, why)
	}
}

// admins are the admin listeners of a deployment's regions.
type admins struct {
	urls  map[chat.Region]string
	token string
	// all counts the regions of each zone, where that is known.
	all map[chat.Zone]int
}

func (f verifyFlags) admins() (*admins, error) {
	a := &admins{urls: map[chat.Region]string{}, all: map[chat.Zone]int{}}
	if f.config == "" {
		r, err := findUp(f.data)
		if err != nil {
			return nil, err
		}
		a.token = r.AdminToken
		for region, where := range r.Regions {
			a.urls[region] = "http://" + where.Admin
		}
		return a, nil
	}
	cfg, err := config.Load(f.config)
	if err != nil {
		return nil, err
	}
	s, err := loadSecrets(cfg)
	if err != nil {
		return nil, err
	}
	a.token = s.adminToken
	for _, r := range cfg.Regions {
		a.urls[r.Name] = "http://" + r.NodeList()[0].Admin
	}
	for _, z := range cfg.Zones {
		a.all[z.Name] = len(z.Regions)
	}
	return a, nil
}

// served gives how many regions serve the zone.
func (a *admins) served(zone chat.Zone) int { return a.all[zone] }

// zones gives the regions that answer, by zone, sorted.
func (a *admins) zones(ctx context.Context) (map[chat.Zone][]chat.Region, error) {
	zones := map[chat.Zone][]chat.Region{}
	answered := 0
	for region, base := range a.urls {
		var status regionnode.Status
		if err := a.call(ctx, http.MethodGet, base+"/v1/admin/status", func(body io.Reader) error { return json.NewDecoder(body).Decode(&status) }); err != nil {
			continue // a region that is down: its zones are compared without it
		}
		answered++
		for zone := range status.Zones {
			zones[zone] = append(zones[zone], region)
		}
	}
	if answered == 0 {
		return nil, &exitError{code: exitUnreachable, what: "no region answers", next: "meridian status"}
	}
	for _, regions := range zones {
		slices.Sort(regions)
	}
	return zones, nil
}

func sortedZones(zones map[chat.Zone][]chat.Region) []chat.Zone {
	list := make([]chat.Zone, 0, len(zones))
	for zone := range zones {
		list = append(list, zone)
	}
	slices.Sort(list)
	return list
}

// verify has one region compare itself with another.
func (a *admins) verify(ctx context.Context, region, peer chat.Region, zone chat.Zone, repair bool, progress func(verify.Report)) (verify.Report, error) {
	q := url.Values{"zone": {string(zone)}, "peer": {string(peer)}, "repair": {fmt.Sprint(repair)}}
	var last regionnode.VerifyLine
	err := a.call(ctx, http.MethodPost, a.urls[region]+"/v1/admin/verify?"+q.Encode(), func(body io.Reader) error {
		lines := bufio.NewScanner(body)
		for lines.Scan() {
			if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
				return err
			}
			progress(last.Report)
		}
		return lines.Err()
	})
	switch {
	case err != nil:
		return last.Report, err
	case last.Error != nil:
		return last.Report, fmt.Errorf("%s: %s", last.Error.Code, last.Error.Message)
	case !last.Done:
		return last.Report, fmt.Errorf("region %s ended the comparison", region)
	}
	return last.Report, nil
}

func (a *admins) call(ctx context.Context, method, url string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return read(resp.Body)
}
