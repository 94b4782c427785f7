package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meridian/chat"
	regionnode "meridian/region-node"
	"meridian/region-node/drain"
	"meridian/router/decide"
)

// drainFlags are what the verbs about drains share.
type drainFlags struct {
	data, file string
	asJSON     bool
}

func (f *drainFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "data", "directory of the local deployment")
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file of a deployment whose nodes are processes of their own, instead of --data")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print the plan and the progress as JSON")
}

// drainWithin is how long a drain takes when the operator does not say.
const drainWithin = 5 * time.Minute

func drainCommand() *cobra.Command {
	var f drainFlags
	var within time.Duration
	var force, plan, wait bool
	cmd := &cobra.Command{
		Use: "drain REGION", Short: "Move everybody out of a region, spread over a time",
		Long: `Move everybody out of a region that is to be stopped or mended. From the first moment on the region takes no new socket of
anybody whom another region may serve; names leave it in steps (75, 50, 25, 0 % of the networks, a quarter of the time each); open
sockets are asked to move one after another. What is under way goes on. It can be taken back at any time (meridian region return).

It is refused (exit code 4) when people of a zone that forbids transit would be left without a region, or when the others would get
more sockets than 85 % of their capacity_sockets; --force does it all the same. --plan only says who would go where.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := adminsOf(f.data, f.file, chat.Region(args[0]))
			if err != nil {
				return err
			}
			method, query := http.MethodPost, url.Values{"within": {within.String()}, "force": {strconv.FormatBool(force)}}
			if plan {
				method = http.MethodGet
			}
			var answer regionnode.DrainAnswer
			if err := a.call(cmd.Context(), method, "/v1/admin/drain?"+query.Encode(), &answer); err != nil {
				return refusedDrain(err, args[0])
			}
			if err := f.show(cmd.OutOrStdout(), answer); err != nil {
				return err
			}
			switch {
			case plan && len(answer.Plan.Refused) > 0:
				return &exitError{code: exitRefused}
			case wait && !plan:
				return waitDrained(cmd.Context(), a)
			}
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().DurationVar(&within, "within", drainWithin, "the time over which people move; of a drain that is under way only the end changes")
	cmd.Flags().BoolVar(&force, "force", false, "do it although people are left without a region, or the others get too much")
	cmd.Flags().BoolVar(&plan, "plan", false, "only say who would go where, and what speaks against it")
	cmd.Flags().BoolVar(&wait, "wait", false, "return when nobody is left whom another region may serve")
	return cmd
}

// refusedDrain adds to a refusal what can be done.
func refusedDrain(err error, region string) error {
	if exit, ok := err.(*exitError); ok && exit.code == exitRefused { //nolint:errorlint // call gives this very type
		exit.next = "meridian region drain " + region + " --plan; or with --force"
	}
	return failed(err)
}

func returnCommand() *cobra.Command {
	var f drainFlags
	cmd := &cobra.Command{
		Use: "return REGION", Aliases: []string{"undrain"}, Short: "End a drain: the region serves as before",
		Long: "End a drain. Names and discovery lead to the region again at once; those who have moved stay where they are until they connect anew.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := adminsOf(f.data, f.file, chat.Region(args[0]))
			if err != nil {
				return err
			}
			var answer regionnode.DrainAnswer
			if err := a.call(cmd.Context(), http.MethodDelete, "/v1/admin/drain", &answer); err != nil {
				return failed(err)
			}
			if f.asJSON {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s serves as before; %d sockets are there\n", args[0], answer.Plan.Sockets)
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

// undrainCommand is return under the name that goes with drain.
func undrainCommand() *cobra.Command {
	cmd := returnCommand()
	cmd.Use, cmd.Aliases = "undrain REGION", nil
	return cmd
}

func (f *drainFlags) show(w io.Writer, a regionnode.DrainAnswer) error {
	if f.asJSON {
		return printJSON(w, a)
	}
	if a.Progress != nil {
		fmt.Fprintf(w, "%s\n", drainLine(a.Plan.Region, *a.Progress, time.Now()))
	} else {
		fmt.Fprintf(w, "%s is not being drained; if it were:\n", a.Plan.Region)
	}
	printPlan(w, a.Plan)
	return nil
}

// printPlan says who goes where.
func printPlan(w io.Writer, p drain.Plan) {
	fmt.Fprintf(w, "  %-14s %8s %8s %9s %6s\n", "to", "has", "gets", "capacity", "load")
	for _, t := range p.Targets {
		capacity, load := "-", "-"
		if t.Capacity > 0 {
			capacity, load = strconv.Itoa(t.Capacity), fmt.Sprintf("%.0f %%", 100*float64(t.After)/float64(t.Capacity))
		}
		fmt.Fprintf(w, "  %-14s %8d %8d %9s %6s\n", t.Region, t.Before, t.After-t.Before, capacity, load)
	}
	for _, zone := range slices.Sorted(maps.Keys(p.Stay)) {
		fmt.Fprintf(w, "  %d sockets of zone %s have no other region and stay\n", p.Stay[zone], zone)
	}
	for _, note := range p.Notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
	for _, why := range p.Refused {
		fmt.Fprintf(w, "  ! %s\n", why)
	}
}

// drainLine says in one line how far a drain is.
func drainLine(region chat.Region, p drain.Progress, now time.Time) string {
	line := fmt.Sprintf("%s drains until %s (names %.0f %%): %d sockets left", region, p.Until.Local().Format(time.TimeOnly), 100*decide.DrainWeight(p.From, p.Until, now), p.Left)
	var parts []string
	if p.Asked > 0 {
		parts = append(parts, fmt.Sprintf("%d asked to move", p.Asked))
	}
	if p.Stay > 0 {
		parts = append(parts, fmt.Sprintf("%d without another region", p.Stay))
	}
	if len(parts) > 0 {
		line += ", of them " + strings.Join(parts, ", ")
	}
	return line
}

// drainedAfter is how long after its end a drain may still have sockets that were asked and are being closed.
const drainedAfter = 30 * time.Second

// waitDrained returns when only those are left who have no other region.
func waitDrained(ctx context.Context, a regionAdmins) error {
	for {
		var answer regionnode.DrainAnswer
		if err := a.call(ctx, http.MethodGet, "/v1/admin/drain", &answer); err != nil {
			return failed(err)
		}
		p, staying := answer.Progress, 0
		for _, n := range answer.Plan.Stay {
			staying += n
		}
		switch {
		case p == nil:
			return &exitError{code: exitChanged, what: "the drain was taken back"}
		case answer.Plan.Sockets <= staying:
			return nil
		case time.Since(p.Until) > drainedAfter:
			return &exitError{code: exitFailed, what: fmt.Sprintf("%d sockets have not moved", answer.Plan.Sockets-staying), next: "meridian status"}
		}
		if err := pause(ctx, watchEvery); err != nil {
			return err
		}
	}
}
