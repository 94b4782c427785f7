package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	"meridian/router"
	"meridian/router/decide"
	"meridian/router/dns"
	"meridian/router/geo"
	"meridian/router/health"
	"meridian/router/route53"
)

// route53Flags are what the verbs about Route 53 share.
type route53Flags struct {
	file, endpoint string
	asJSON         bool
}

func route53Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "route53", Short: "Keep the names of a deployment at Amazon Route 53 instead of GeoDNS",
		Long: `Keep the names of a deployment at Amazon Route 53 instead of GeoDNS: the same decision as geolocation records, health checks and orders of
failover (docs/decisions/0027-route53.md). Credentials come by Amazon's standard chain: environment, shared files, roles. Only what this
deployment has made is changed; a record of somebody else in the way is a refusal (exit code 4).`,
	}
	cmd.AddCommand(route53PlanCommand(), route53ApplyCommand())
	return cmd
}

func (f *route53Flags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file of the deployment, with router.route53")
	cmd.Flags().StringVar(&f.endpoint, "endpoint", "", "base URL of the API, instead of router.route53.endpoint")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	_ = cmd.MarkFlagRequired("config") // the flag exists
}

func route53PlanCommand() *cobra.Command {
	var f route53Flags
	cmd := &cobra.Command{
		Use: "plan", Short: "Say what apply would change", Args: cobra.NoArgs,
		Long: "Say what apply would change. Exit code 0: nothing; 3: something; 4: records of somebody else are in the way; 7: Route 53 does not answer.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, plan, err := f.plan(cmd.Context())
			if err != nil {
				return route53Failed(err)
			}
			if err := f.show(cmd.OutOrStdout(), plan); err != nil {
				return err
			}
			switch {
			case plan.Err() != nil:
				return route53Failed(plan.Err())
			case len(plan.Changes) > 0:
				return &exitError{code: exitDegraded}
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

func route53ApplyCommand() *cobra.Command {
	var f route53Flags
	var every time.Duration
	cmd := &cobra.Command{
		Use: "apply", Short: "Bring the hosted zones to the configuration and the operator's orders", Args: cobra.NoArgs,
		Long: `Bring the hosted zones to the configuration and the operator's orders, and return when all of Amazon's name servers have it and a new look
finds nothing left to do. It may be run again at any time, also after it was broken off. With --every it goes on, so that the steps of a drain and orders that are given or
end reach Route 53; it then ends only when it is told to, or when a record of somebody else gets in the way.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for {
				err := f.apply(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
				if every <= 0 || err != nil && chat.CodeOf(err) != chat.CodeBusy && chat.CodeOf(err) != chat.CodeVersionConflict {
					return route53Failed(err)
				}
				if err != nil {
					fmt.Fprintln(cmd.ErrOrStderr(), "meridian:", err)
				}
				if pause(cmd.Context(), every) != nil { // it was told to end
					return nil
				}
			}
		},
	}
	f.add(cmd)
	cmd.Flags().DurationVar(&every, "every", 0, "go on, and look so often whether something has changed")
	return cmd
}

// applyRounds bounds how often apply plans anew: when somebody else changes the zone meanwhile, or a call was made whose answer got lost.
const applyRounds = 4

// apply makes what a plan says until a new one says nothing.
func (f *route53Flags) apply(ctx context.Context, stdout, stderr io.Writer) error {
	progress := route53.Progress(func(line string) { fmt.Fprintln(stderr, line) })
	var first *route53.Plan
	var conflict error
	for range applyRounds {
		client, plan, err := f.plan(ctx)
		if err != nil {
			return err
		}
		if first == nil {
			first = plan
		}
		if plan.Err() == nil && len(plan.Changes) == 0 {
			return f.done(stdout, first)
		}
		conflict = client.Apply(ctx, plan, progress)
		if conflict != nil && chat.CodeOf(conflict) != chat.CodeVersionConflict {
			return conflict
		}
	}
	if conflict == nil {
		conflict = &chat.Error{Code: chat.CodeVersionConflict, Op: "meridian.route53", Message: "the hosted zones change all the time"}
	}
	return conflict
}

func (f *route53Flags) done(w io.Writer, p *route53.Plan) error {
	if f.asJSON {
		return printJSON(w, p)
	}
	_, err := fmt.Fprintf(w, "done: %s\n", planLine(p))
	return err
}

// route53Failed chooses the exit code.
func route53Failed(err error) error {
	if err == nil {
		return nil
	}
	switch chat.CodeOf(err) {
	case chat.CodeDenied:
		return &exitError{code: exitRefused, what: err.Error(), next: "remove those records, or give the deployment another router.domain"}
	case chat.CodeVersionConflict:
		return &exitError{code: exitChanged, what: err.Error(), next: "meridian route53 plan"}
	case chat.CodeBusy:
		return &exitError{code: exitUnreachable, what: err.Error(), next: "check the credentials and router.route53.endpoint, then try again"}
	}
	return failed(err)
}

// plan renders the deployment as it is configured and as its operators have ordered, and compares that with what there is.
func (f *route53Flags) plan(ctx context.Context) (*route53.Client, *route53.Plan, error) {
	cfg, err := config.Load(f.file)
	if err != nil {
		return nil, nil, err
	}
	settings := cfg.Router.Route53
	if len(settings.HostedZones) == 0 {
		return nil, nil, &chat.Error{Code: chat.CodeInvalid, Op: "meridian.route53", Message: "router.route53.hosted_zones is empty: name the hosted zone that " + cfg.Router.Domain + " lies in"}
	}
	settings.Endpoint = cmp.Or(f.endpoint, settings.Endpoint)
	client, err := route53.NewClient(ctx, settings)
	if err != nil {
		return nil, nil, err
	}
	zones, err := client.HostedZones(ctx, settings.HostedZones)
	if err != nil {
		return nil, nil, err
	}
	want, err := render(ctx, cfg, zones)
	if err != nil {
		return nil, nil, err
	}
	have, err := client.Observe(ctx, zones)
	if err != nil {
		return nil, nil, err
	}
	return client, route53.Make(route53.OwnerOf(cfg.Name, cfg.Router.Domain), want, have), nil
}

func render(ctx context.Context, cfg *config.Config, zones []route53.HostedZone) (*route53.Records, error) {
	world, err := geo.World()
	if err != nil {
		return nil, err
	}
	d := route53.Deployment{
		Owner: route53.OwnerOf(cfg.Name, cfg.Router.Domain), Domain: cfg.Router.Domain, URLs: make(map[chat.Region][]string),
		TTL: cfg.Router.TTL, TTLDegraded: cfg.Router.TTLDegraded, Config: cfg.Router.Route53, Zones: zones,
	}
	if d.Model, err = decide.NewModel(cfg, world); err != nil {
		return nil, err
	}
	data, err := geo.Open(cfg.Router, time.Now())
	if err != nil {
		return nil, err
	}
	d.Countries = route53.CountriesOf(d.Model, data)
	regions, err := router.RegionsOf(cfg)
	if err != nil {
		return nil, err
	}
	for _, r := range regions {
		d.Regions = append(d.Regions, dns.Region{Name: r.Name, Addresses: r.Addresses, URL: r.URLs[0]})
		d.URLs[r.Name] = r.URLs
	}
	topology := cfg.Topology()
	for _, z := range cfg.Zones {
		if spec, ok := topology.Zone(z.Name); ok && z.Host != "" {
			d.Hosts = append(d.Hosts, route53.Host{Name: z.Host, Zone: spec})
		}
	}
	var notes []string
	d.States, notes = orderedStates(ctx, regions)
	want, err := route53.Render(d)
	if err != nil {
		return nil, err
	}
	if cfg.Router.AnswerRegions > 1 {
		notes = append(notes, fmt.Sprintf("an answer holds one region, not %d (router.answer_regions)", cfg.Router.AnswerRegions))
	}
	if len(cfg.Router.Overrides) > 0 {
		notes = append(notes, fmt.Sprintf("%d networks of router.overrides get what their country gets", len(cfg.Router.Overrides)))
	}
	if cfg.Router.Learned.File != "" {
		notes = append(notes, "learned round trips (router.learned) are left out")
	}
	want.Notes = append(notes, want.Notes...)
	return want, nil
}

// orderedStates asks the regions what their operators have ordered. What a region cannot say itself the others may have heard.
func orderedStates(ctx context.Context, regions []router.Region) (decide.States, []string) {
	var mu sync.Mutex
	var asked sync.WaitGroup
	reports := make(map[chat.Region]health.Report)
	for _, r := range regions {
		asked.Go(func() {
			if report, ok := health.Ask(ctx, health.Target{Region: r.Name, Admins: r.Admins}); ok {
				mu.Lock()
				defer mu.Unlock()
				reports[r.Name] = report
			}
		})
	}
	asked.Wait()
	states, now := make(decide.States), time.Now()
	var notes []string
	var names []chat.Region
	forces := make(chat.Forces)
	for _, r := range regions {
		names = append(names, r.Name)
		forces[r.Name] = reports[r.Name].Forces
	}
	for _, r := range regions {
		own, ok := reports[r.Name]
		last := health.Drain{On: own.Draining, From: own.DrainFrom, Until: own.DrainUntil}
		if !ok {
			heard := false
			for _, other := range reports {
				if o, told := other.Drains[r.Name]; told && o.Given.After(last.Given) {
					last, heard = o, true
				}
			}
			if !heard {
				notes = append(notes, fmt.Sprintf("%s does not answer, and no other region has heard of an order about it", r.Name))
			}
		}
		var state decide.State
		if last.On {
			state = decide.State{Draining: true, DrainUntil: last.Until, DrainWeight: decide.DrainWeight(last.From, last.Until, now)}
		}
		if word, by, ok := forces.About(r.Name, names, now); ok {
			state.Force(word, by)
		}
		states[r.Name] = state
	}
	return states, notes
}

func (f *route53Flags) show(w io.Writer, p *route53.Plan) error {
	if f.asJSON {
		return printJSON(w, p)
	}
	for _, c := range p.Changes {
		printChange(w, c)
	}
	for _, note := range p.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	for _, host := range slices.Sorted(maps.Keys(p.Lost)) {
		l := p.Lost[host]
		fmt.Fprintf(w, "%s: of all IPv4 addresses %.2f %% get another region than by GeoDNS, %.2f %% another one when some are down\n", host, 100*l.First, 100*l.Order)
	}
	for _, why := range p.Refused {
		fmt.Fprintf(w, "! %s\n", why)
	}
	_, err := fmt.Fprintln(w, planLine(p))
	return err
}

// planLine says a plan in one line.
func planLine(p *route53.Plan) string {
	return fmt.Sprintf("%d to create, %d to change, %d to delete, %d unchanged; %d records of others", p.Count(route53.Create), p.Count(route53.Modify), p.Count(route53.Delete), p.Unchanged, p.Others)
}

func printChange(w io.Writer, c route53.Change) {
	switch {
	case c.CheckIs != nil && c.CheckWas != nil:
		fmt.Fprintf(w, "~ %s\n  was %s\n", c.CheckIs, c.CheckWas)
	case c.CheckIs != nil:
		fmt.Fprintf(w, "+ %s\n", c.CheckIs)
	case c.CheckWas != nil:
		fmt.Fprintf(w, "- %s\n", c.CheckWas)
	case c.RecordIs != nil && c.RecordWas != nil:
		fmt.Fprintf(w, "~ %s\n  was %s\n", c.RecordIs, c.RecordWas.Target())
	case c.RecordIs != nil:
		fmt.Fprintf(w, "+ %s\n", c.RecordIs)
	case c.RecordWas != nil:
		fmt.Fprintf(w, "- %s\n", c.RecordWas)
	}
}
