package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"meridian/config"
	regionnode "meridian/region-node"
	"meridian/router/decide"
	"meridian/router/geo"
	"meridian/router/learned"
)

// rttCommand looks after learned round trips, by the code with which the router reads them.
func rttCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "rtt", Short: "Learned round trips: collect what nodes measured of their clients, and read it before routers take it"}
	cmd.AddCommand(rttCollectCommand(), rttInfoCommand(), rttDiffCommand())
	return cmd
}

type collectFlags struct {
	data, file, out string
	from            []string
	partial         bool
}

func rttCollectCommand() *cobra.Command {
	var f collectFlags
	cmd := &cobra.Command{
		Use: "collect --out FILE", Short: "Ask all nodes how far their clients are, and write it to a file",
		Long: `Ask the nodes of all regions how far their clients are, by network (/20 of IPv4, /36 of IPv6) and by country and autonomous
system, and write the medians of what has at least ` + fmt.Sprint(learned.MinSamples) + ` samples. Nodes measure where router.learned.sample says so, and tell no
address. Nothing else changes: read the file (meridian rtt diff OLD FILE), then put it where router.learned.file says; routers take it within
20 seconds. A node that does not answer ends it with exit code 3, and nothing is written; --partial goes on without it.`,
		Example: "meridian rtt collect --config FILE --out learned.new.csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	cmd.Flags().StringVar(&f.data, "data", "data", "directory of the local deployment")
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file of the deployment, whose nodes are asked")
	cmd.Flags().StringSliceVar(&f.from, "from", nil, "ask these admin listeners instead, as in http://127.0.0.1:8201")
	cmd.Flags().StringVar(&f.out, "out", "", "the file to write")
	cmd.Flags().BoolVar(&f.partial, "partial", false, "go on without nodes that do not answer")
	_ = cmd.MarkFlagRequired("out") // the flag exists
	return cmd
}

func (f *collectFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	all, err := findAdmins(f.data, f.file)
	if err != nil {
		return err
	}
	if len(f.from) > 0 {
		all = []regionAdmins{{bases: f.from, token: all[0].token}} // one token is all nodes'
	}
	var told []learned.Histogram
	sampling := 0
	for _, region := range all {
		for _, base := range region.bases {
			var answer regionnode.RoundTrips
			err := callAdmin(ctx, base+"/v1/admin/rtt", region.token, http.MethodGet, &answer)
			var exit *exitError
			switch {
			case err == nil:
			case f.partial && errors.As(err, &exit) && exit.code == exitUnreachable:
				fmt.Fprintf(stderr, "left out: %s: %v\n", base, err)
				continue
			default:
				return fmt.Errorf("%s: %w", base, err)
			}
			if answer.Sampling {
				sampling++
			}
			told = append(told, histograms(answer)...)
		}
	}
	if sampling == 0 {
		return &exitError{code: exitFailed, what: "no node measures round trips", next: "set router.learned.sample: true for the nodes, and wait for some hours"}
	}
	c, err := learned.Collect(told, time.Now())
	if err != nil {
		return err
	}
	if len(c.File.Rows) == 0 {
		return &exitError{code: exitFailed, what: fmt.Sprintf("of %d groups of clients none has %d samples yet; nothing is written", c.TooFew, learned.MinSamples)}
	}
	if err := write(f.out, c.File); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %d rows by %d nodes; %d groups had fewer than %d samples\nnext: meridian rtt diff %s %s\n", f.out, len(c.File.Rows), sampling, c.TooFew, learned.MinSamples, noFile, f.out)
	return nil
}

// histograms gives what a node told in the words of learned.
func histograms(answer regionnode.RoundTrips) []learned.Histogram {
	out := make([]learned.Histogram, 0, len(answer.Groups))
	for _, g := range answer.Groups {
		h := learned.Histogram{Region: answer.Region, Network: g.Network, Country: g.Country, ASN: g.ASN, Last: g.Last}
		for _, c := range g.Cells {
			h.Cells = append(h.Cells, learned.Cell{Ms: c.Ms, Count: c.Count})
		}
		out = append(out, h)
	}
	return out
}

// write puts a file in its place in one step: a router that watches it never sees half of it.
func write(name string, f learned.File) error {
	var text bytes.Buffer
	if err := f.Write(&text); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	tmp, err := geo.WriteBeside(name, text.Bytes())
	if err != nil {
		return err
	}
	return geo.ReplaceFile(tmp, name)
}

// reviewed is what files of round trips are read beside.
func (o *geoOptions) reviewed() (cfg *config.Config, model *decide.Model, data *geo.Data, err error) {
	if cfg, err = o.config(); err != nil {
		return nil, nil, nil, err
	}
	world, err := geo.World()
	if err != nil {
		return nil, nil, nil, err
	}
	if model, err = decide.NewModel(cfg, world); err != nil {
		return nil, nil, nil, err
	}
	data, err = geo.Open(cfg.Router, time.Now())
	return cfg, model, data, err
}

func rttInfoCommand() *cobra.Command {
	var o geoOptions
	cmd := &cobra.Command{
		Use: "info FILE", Short: "Show what a file of learned round trips says of each region", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, model, data, err := o.reviewed()
			if err != nil {
				return failed(err)
			}
			f, err := learned.Load(args[0])
			if err != nil {
				return failed(err)
			}
			s := learned.Summarize(f, model, data)
			return o.print(cmd.OutOrStdout(), s, func(w io.Writer) { writeSummary(w, s) })
		},
	}
	o.flags(cmd)
	return cmd
}

func writeSummary(w io.Writer, s learned.Summary) {
	fmt.Fprintf(w, "collected %s, %d days ago: %d rows of %d networks and %d systems\n\n", s.Collected.Format(time.RFC3339), int(time.Since(s.Collected).Hours()/24), s.Rows, s.Networks, s.Systems)
	fmt.Fprintf(w, "%-16s %8s %12s %12s %16s\n", "region", "rows", "samples", "p50 ms", "over estimate ms")
	for _, r := range s.Regions {
		note := ""
		if r.Unknown {
			note = "  not a region here: left out"
		}
		fmt.Fprintf(w, "%-16s %8d %12d %12.1f %16.1f%s\n", r.Region, r.Rows, r.Samples, r.P50Ms, r.OverMs, note)
	}
}

// noFile stands for no learned round trips where a file is asked for.
const noFile = "none"

func rttDiffCommand() *cobra.Command {
	var o geoOptions
	rows := 0
	cmd := &cobra.Command{
		Use: "diff OLD NEW", Short: "Show whose first region a new file of learned round trips would change, and by how much",
		Long: `Show whose first region a new file of learned round trips would change, from where to where, and the round trips to both by the new
file, by the configuration's regions, rules and address data. The word ` + noFile + ` stands for no file. A move to a region that is estimated, not
measured, rests on hope: look at those first. Routers hold networks where they are until the better region has been so in three builds.`,
		Example: "meridian rtt diff none learned.new.csv --config FILE", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, model, data, err := o.reviewed()
			if err != nil {
				return failed(err)
			}
			var both [2]*learned.Set
			for i, file := range args {
				l := cfg.Router.Learned
				if l.File, l.MaxAge = file, 0; file == noFile {
					l.File = ""
				}
				if both[i], err = learned.Open(l, model, time.Now()); err != nil {
					return failed(err)
				}
			}
			d := learned.Diff(model, data, both[0], both[1])
			refused := learned.CheckSwap(model, data, both[0], both[1], cfg.Router.CanaryAddresses(), cfg.Router.Learned.ChangedShare)
			err = o.print(cmd.OutOrStdout(), d, func(w io.Writer) { writeRTTDiff(w, d, rows) })
			if err == nil && refused != nil {
				return &exitError{code: exitRefused, what: "a router would refuse it: " + refused.Error(), next: "look at the changes; router.learned.changed_share allows more"}
			}
			return err
		},
	}
	o.flags(cmd)
	cmd.Flags().IntVar(&rows, "rows", 50, "how many of the changes to print; 0: all")
	return cmd
}

func writeRTTDiff(w io.Writer, d learned.Difference, rows int) {
	fmt.Fprintf(w, "IPv4: %.4g of %.4g addresses of which something is learned get another first region\nIPv6: %.4g of %.4g /64s\n",
		d.IPv4.Moved, d.IPv4.Addresses, d.IPv6.Moved, d.IPv6.Addresses)
	if len(d.Changes) > 0 {
		fmt.Fprintf(w, "\n%-24s %-8s %-14s %-14s %9s %9s  %-10s %10s %10s\n", "of", "country", "from", "to", "from ms", "to ms", "", "IPv4", "IPv6 /64s")
	}
	for i, c := range d.Changes {
		if i == rows && rows > 0 {
			fmt.Fprintf(w, "… and %d more (--rows 0 prints all)\n", len(d.Changes)-rows)
			break
		}
		how := "measured"
		if !c.Measured {
			how = "estimated"
		}
		fmt.Fprintf(w, "%-24s %-8s %-14s %-14s %9.1f %9.1f  %-10s %10.4g %10.4g\n", c.Of, orDash(c.Country), c.From, c.To, c.FromMs, c.ToMs, how, c.IPv4, c.IPv6)
	}
}
