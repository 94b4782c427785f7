package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
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
	"meridian/region-node/wire"
)

// verifyReport is what `verify --json` prints: of mailboxes, and of usernames.
type verifyReport struct {
	Compared []verify.Report `json:"compared"`
	// Skipped are the zones that could not be compared, and why.
	Skipped map[chat.Zone]string `json:"skipped,omitempty"`
	// Missing are the regions that do not answer: what they hold was compared with nothing.
	Missing []chat.Region `json:"missing,omitempty"`

	Owners  int         `json:"owners"`
	Differ  int         `json:"differ"`
	Brought int         `json:"brought"`
	Names   namesReport `json:"names"`
}

type namesReport struct {
	Compared []verify.NamesReport `json:"compared"`
	Names    int                  `json:"names"`
	Differ   int                  `json:"differ"`
	Brought  int                  `json:"brought"`
	Left     int                  `json:"left"`
}

type verifyFlags struct {
	data, config, zone string
	repair, json       bool
}

func verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use: "verify", Short: "Compare what the regions hold, and repair it",
		Long: `Compare, by digests of each mailbox and day, what the regions of each zone hold, and what all regions know of usernames. With
--repair each region brings its own rows of what differs to all regions of the zone, and confirmed usernames to every region
that lacks them; nothing is deleted. A region whose store was restored from a backup is healed so. A username that regions
have for different sign-ups is left as it is, unless a majority has it alike and no other entry is older.
Exit code 0 when nothing differs (any more), 3 when something differs, or a region or zone could not be compared.`,
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
	zones, missing, err := a.zones(cmd.Context())
	if err != nil {
		return failed(err)
	}
	report := verifyReport{Missing: missing, Compared: []verify.Report{}, Skipped: map[chat.Zone]string{}, Names: namesReport{Compared: []verify.NamesReport{}}}
	for _, zone := range sortedZones(zones) {
		if f.zone != "" && string(zone) != f.zone {
			continue
		}
		if err := f.compareZone(cmd, a, zone, zones[zone], &report); err != nil {
			return failed(err)
		}
	}
	if err := f.compareNames(cmd, a, regionsOf(zones), &report.Names); err != nil {
		return failed(err)
	}
	if f.json {
		if err := printJSON(cmd.OutOrStdout(), report); err != nil {
			return err
		}
	} else {
		report.print(cmd.OutOrStdout(), f.repair)
	}
	mailboxes := report.Differ
	if f.repair {
		mailboxes = 0
	}
	what := fmt.Sprintf("%d mailboxes differ, %d usernames differ, %d zones were not compared", mailboxes, report.Names.Left, len(report.Skipped))
	switch {
	case mailboxes > 0 || report.Names.Left > 0 || len(report.Skipped) > 0:
		return &exitError{code: exitDegraded, what: what, next: "meridian verify --repair"}
	case len(missing) > 0:
		return &exitError{code: exitDegraded, what: fmt.Sprintf("%d regions do not answer", len(missing)), next: "meridian status"}
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
	show, end := f.progress(cmd)
	for _, peer := range regions[1:] {
		r, err := verifyPair(cmd.Context(), a, "/v1/admin/verify", regions[0], f.query(zone, peer), func(r verify.Report) {
			show("%s: %s and %s, %d mailboxes, %d differ", zone, r.Region, r.Peer, r.Owners, r.Differ)
		})
		if err != nil {
			return fmt.Errorf("zone %s, %s and %s: %w", zone, regions[0], peer, err)
		}
		end()
		report.Compared = append(report.Compared, r)
		report.Owners += r.Owners
		report.Differ += r.Differ
		report.Brought += r.Brought
	}
	return nil
}

// compareNames compares the usernames known to the first region with those of each of the others.
func (f verifyFlags) compareNames(cmd *cobra.Command, a *admins, regions []chat.Region, report *namesReport) error {
	if len(regions) < 2 {
		return nil
	}
	show, end := f.progress(cmd)
	for _, peer := range regions[1:] {
		r, err := verifyPair(cmd.Context(), a, "/v1/admin/verify/names", regions[0], f.query(chat.Zone(f.zone), peer), func(r verify.NamesReport) {
			show("usernames: %s and %s, %d names, %d differ", r.Region, r.Peer, r.Names, r.Differ)
		})
		if err != nil {
			return fmt.Errorf("usernames, %s and %s: %w", regions[0], peer, err)
		}
		end()
		report.Compared = append(report.Compared, r)
		report.Names += r.Names
		report.Differ += r.Differ
		report.Brought += r.Brought
		report.Left += r.Left
	}
	return nil
}

// progress gives what shows how far a comparison is, and what ends that line: nothing where nobody looks.
func (f verifyFlags) progress(cmd *cobra.Command) (show func(format string, args ...any), end func()) {
	if f.json || !term.IsTerminal(int(os.Stderr.Fd())) {
		return func(string, ...any) {}, func() {}
	}
	w := cmd.ErrOrStderr()
	return func(format string, args ...any) { fmt.Fprintf(w, "\r"+format, args...) }, func() { fmt.Fprintln(w) }
}

func (r verifyReport) print(w io.Writer, repaired bool) {
	for _, c := range r.Compared {
		fmt.Fprintf(w, "%-10s %s and %s: %d mailboxes, %d differ (%d days)", c.Zone, c.Region, c.Peer, c.Owners, c.Differ, c.Days)
		if repaired {
			fmt.Fprintf(w, ", %d rows brought", c.Brought)
		}
		fmt.Fprintf(w, ", %d ms\n", c.TookMs)
	}
	for _, c := range r.Names.Compared {
		fmt.Fprintf(w, "%-10s %s and %s: %d names, %d differ", "usernames", c.Region, c.Peer, c.Names, c.Differ)
		if repaired {
			fmt.Fprintf(w, ", %d entries brought, %d left", c.Brought, c.Left)
		}
		fmt.Fprintf(w, ", %d ms\n", c.TookMs)
	}
	for _, region := range r.Missing {
		fmt.Fprintf(w, "%-10s does not answer: compared without it\n", region)
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

// zones gives the regions that answer, by zone, sorted, and those that do not.
func (a *admins) zones(ctx context.Context) (zones map[chat.Zone][]chat.Region, missing []chat.Region, err error) {
	zones = map[chat.Zone][]chat.Region{}
	for region, base := range a.urls {
		var status regionnode.Status
		if err := a.call(ctx, http.MethodGet, base+"/v1/admin/status", func(body io.Reader) error { return json.NewDecoder(body).Decode(&status) }); err != nil {
			missing = append(missing, region) // its zones are compared without it
			continue
		}
		for zone := range status.Zones {
			zones[zone] = append(zones[zone], region)
		}
	}
	if len(missing) == len(a.urls) {
		return nil, nil, &exitError{code: exitUnreachable, what: "no region answers", next: "meridian status"}
	}
	for _, regions := range zones {
		slices.Sort(regions)
	}
	slices.Sort(missing)
	return zones, missing, nil
}

func sortedZones(zones map[chat.Zone][]chat.Region) []chat.Zone {
	list := make([]chat.Zone, 0, len(zones))
	for zone := range zones {
		list = append(list, zone)
	}
	slices.Sort(list)
	return list
}

// regionsOf gives all regions that serve one of the zones, sorted.
func regionsOf(zones map[chat.Zone][]chat.Region) []chat.Region {
	var all []chat.Region
	for _, regions := range zones {
		all = append(all, regions...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// query says what one region is to compare.
func (f verifyFlags) query(zone chat.Zone, peer chat.Region) string {
	return url.Values{"zone": {string(zone)}, "peer": {string(peer)}, "repair": {fmt.Sprint(f.repair)}}.Encode()
}

// verifyPair has one region compare itself with another, and gives what that showed.
func verifyPair[R any](ctx context.Context, a *admins, path string, region chat.Region, query string, progress func(R)) (report R, err error) {
	var end struct {
		Done  bool        `json:"done"`
		Error *wire.Error `json:"error"`
	}
	err = a.call(ctx, http.MethodPost, a.urls[region]+path+"?"+query, func(body io.Reader) error {
		lines := bufio.NewScanner(body)
		for lines.Scan() {
			if err := errors.Join(json.Unmarshal(lines.Bytes(), &report), json.Unmarshal(lines.Bytes(), &end)); err != nil {
				return err
			}
			progress(report)
		}
		return lines.Err()
	})
	switch {
	case err != nil:
		return report, err
	case end.Error != nil:
		return report, fmt.Errorf("%s: %s", end.Error.Code, end.Error.Message)
	case !end.Done:
		return report, fmt.Errorf("region %s ended the comparison", region)
	}
	return report, nil
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
