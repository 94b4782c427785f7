package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	regionnode "meridian/region-node"
	"meridian/router"
)

// userExplanation is what `explain user --json` prints.
type userExplanation struct {
	regionnode.UserHome
	// Route is the router's decision for the address that was given, without one missing.
	Route *router.Explanation `json:"route,omitempty"`
}

func explainUserCommand() *cobra.Command {
	var data, file, ip string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "user NAME", Short: "Explain where a person's home is, and which region serves them",
		Long: `Explain where a person's home is and why (the country's rule or a pin), what that means for their data, where their open sockets
are, and, with --ip, which region would serve them there. A real node of the home zone is asked, and the router for the address.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := netip.ParseAddr(ip)
			if ip != "" && err != nil {
				return &exitError{code: exitUsage, what: fmt.Sprintf("%q is not an IP address", ip), next: "meridian explain user " + args[0] + " --ip 81.2.69.142"}
			}
			all, err := findAdmins(data, file)
			if err != nil {
				return err
			}
			e := userExplanation{}
			if e.UserHome, err = askUser(cmd.Context(), all, args[0]); err != nil {
				return failed(err)
			}
			if addr.IsValid() {
				route, err := routeOf(cmd.Context(), data, file, addr, string(e.Zone))
				if err != nil {
					return failed(err)
				}
				e.Route = &route
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), e)
			}
			e.print(cmd.OutOrStdout())
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "data", "directory of the local deployment")
	cmd.Flags().StringVar(&file, "config", "", "configuration file of a deployment whose nodes are processes of their own, instead of --data")
	cmd.Flags().StringVar(&ip, "ip", "", "the address from which the person would come")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// askUser asks regions one after another until one that keeps the account answers; else what another one knows must do. The sockets of
// all are gathered: a person may have some in several regions.
func askUser(ctx context.Context, all []regionAdmins, name string) (best regionnode.UserHome, err error) {
	found := false
	var sockets []regionnode.UserSocket
	for _, a := range all {
		var h regionnode.UserHome
		one := a.call(ctx, http.MethodGet, "/v1/admin/user?name="+url.QueryEscape(name), &h)
		if one != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", a.region, one))
			continue
		}
		sockets = append(sockets, h.Sockets...)
		if !found || h.Kept && !best.Kept {
			best, found = h, true
		}
	}
	best.Sockets = sockets
	if found {
		return best, nil
	}
	return best, err
}

// routeOf asks the router of the deployment.
func routeOf(ctx context.Context, data, file string, addr netip.Addr, zone string) (router.Explanation, error) {
	if file == "" {
		up, err := findUp(data)
		if err != nil {
			return router.Explanation{}, err
		}
		return explainRunning(ctx, "http://"+up.Router.HTTP, addr, zone)
	}
	cfg, err := config.Load(file)
	if err != nil {
		return router.Explanation{}, err
	}
	return explainRunning(ctx, cfg.Router.BaseURL(), addr, zone)
}

func (e userExplanation) print(w io.Writer) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("user", "%s (%s)", e.Username, e.UserID)
	row("home zone", "%s: %v, transit: %s, policy: %s, acknowledged at best at level %s", e.Zone, e.Regions, e.Transit, e.Policy, e.Level)
	if e.Created != "" {
		row("since", "%s", e.Created)
	}
	row("answered by", "%s", e.Answered)
	for _, r := range e.Reasons {
		row("reason", "%s", r)
	}
	for _, s := range e.Sockets {
		from := s.Country
		if from == "" {
			from = "an unknown country"
		}
		row("socket", "from %s, ends in %s; a new one from there: %s", from, s.Edge, s.Next)
	}
	if len(e.Sockets) == 0 {
		row("socket", "none is open")
	}
	if e.Route == nil {
		row("region", "%s", e.anywhere())
		return
	}
	fmt.Fprintf(w, "\n%s", e.Route.Text)
}

// anywhere says which region serves the person when it is not known where they are.
func (e userExplanation) anywhere() string {
	switch {
	case e.Transit == chat.TransitDeny && len(e.Regions) == 1:
		return fmt.Sprintf("%s, from wherever they come", e.Regions[0])
	case e.Transit == chat.TransitDeny:
		return fmt.Sprintf("the nearest of %v: say from where with --ip", slices.Clone(e.Regions))
	}
	return "the nearest that is well: say from where with --ip"
}
