package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meridian/chat"
	regionnode "meridian/region-node"
)

// forceFlags are what `meridian region force` and release share.
type forceFlags struct {
	data, file, by string
	asJSON         bool
}

func (f *forceFlags) add(cmd *cobra.Command) {
	name := "an operator"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	cmd.Flags().StringVar(&f.data, "data", "data", "directory of the local deployment")
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file of a deployment whose nodes are processes of their own, instead of --data")
	cmd.Flags().StringVar(&f.by, "by", name, "who says so; it is shown to whoever asks why")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print what each region answered as JSON")
}

func forceCommand() *cobra.Command {
	var f forceFlags
	var until, reason string
	var anyway, plan bool
	cmd := &cobra.Command{
		Use: "force up|down REGION", Short: "Count a region as down, or as up, whatever the probes say",
		Long: `Count a region as down, or as up, whatever the probes say, until a time: for a region that answers probes and fails people, or one that
probes wrongly take out. Names, discovery and explain follow within seconds; open sockets are left alone (meridian region drain moves
people). It is told to every region that answers, and counts when a majority of the regions besides REGION tell it; down also when
REGION itself does. Nodes keep it over a restart. It ends by itself at --until, at most 7 days ahead, or by meridian region release.

Down is refused (exit code 4) when it would leave people of a zone that forbids transit, or everybody, without a region, or another
region with more than 85 % of its capacity_sockets; --force does it all the same. --plan only says what speaks against it. The reason
stands in explain, also over DNS: write nothing there that is a secret.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			state := chat.ForceState(args[0])
			if state != chat.ForceUp && state != chat.ForceDown {
				return &exitError{code: exitUsage, what: fmt.Sprintf("%q is not a state; allowed: up, down", args[0]), next: "meridian region force --help"}
			}
			end, err := untilOf(until, time.Now())
			if err != nil {
				return err
			}
			query := url.Values{"region": {args[1]}, "state": {string(state)}, "until": {end.Format(time.RFC3339)}, "reason": {reason}, "by": {f.by}, "force": {strconv.FormatBool(anyway)}}
			return f.run(cmd, chat.Region(args[1]), query, state == chat.ForceDown && !anyway, plan)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&until, "until", "", "how long, as 30m or 4h, or until when, as 2026-01-02T15:04:05Z")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is shown to whoever asks")
	cmd.Flags().BoolVar(&anyway, "force", false, "do it although people are left without a region, or the others get too much")
	cmd.Flags().BoolVar(&plan, "plan", false, "only say what speaks against it")
	_, _ = cmd.MarkFlagRequired("until"), cmd.MarkFlagRequired("reason") // the flags exist
	return cmd
}

func releaseCommand() *cobra.Command {
	var f forceFlags
	cmd := &cobra.Command{
		Use: "release REGION", Short: "Take back what was forced: the region counts as the probes say",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, chat.Region(args[0]), url.Values{"region": {args[0]}, "by": {f.by}}, false, false)
		},
	}
	f.add(cmd)
	return cmd
}

// untilOf reads a time span from now, or a time.
func untilOf(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d).UTC(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, &exitError{code: exitUsage, what: fmt.Sprintf("--until %q is neither a time span, as 4h, nor a time, as 2026-01-02T15:04:05Z", text)}
	}
	return at.UTC(), nil
}

// forceReply is what one region answered.
type forceReply struct {
	Region chat.Region             `json:"region"`
	Answer *regionnode.ForceAnswer `json:"answer,omitempty"`
	Error  string                  `json:"error,omitempty"`
	err    error
}

// run asks all regions whether anything speaks against it, where that is to be asked, and then tells them all: the region itself first, which
// knows where its people would go, so that nothing is told to the others when it refuses.
func (f *forceFlags) run(cmd *cobra.Command, region chat.Region, query url.Values, ask, planOnly bool) error {
	if _, err := adminsOf(f.data, f.file, region); err != nil {
		return err
	}
	all, err := findAdmins(f.data, f.file)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b regionAdmins) int { return orderOf(a, region) - orderOf(b, region) })
	if ask || planOnly {
		replies := f.tell(cmd.Context(), all, http.MethodGet, query)
		if refused := refusals(replies); planOnly || len(refused) > 0 {
			return f.planned(cmd.OutOrStdout(), region, replies, refused)
		}
	}
	replies := f.tell(cmd.Context(), all, http.MethodPost, query)
	return f.told(cmd.OutOrStdout(), region, replies)
}

func orderOf(a regionAdmins, first chat.Region) int {
	if a.region == first {
		return 0
	}
	return 1
}

// tell makes the call to one node of each region. The first that takes a word gives it its time, which the others get.
func (f *forceFlags) tell(ctx context.Context, all []regionAdmins, method string, query url.Values) []forceReply {
	var out []forceReply
	for _, a := range all {
		one := forceReply{Region: a.region}
		var answer regionnode.ForceAnswer
		if one.err = a.call(ctx, method, "/v1/admin/force?"+query.Encode(), &answer); one.err != nil {
			one.Error = one.err.Error()
		} else {
			one.Answer = &answer
			if method == http.MethodPost {
				query.Set("given", answer.Word.Given.Format(time.RFC3339Nano))
				if query.Get("until") == "" {
					query.Set("until", answer.Word.Until.Format(time.RFC3339Nano))
				}
			}
		}
		out = append(out, one)
	}
	return out
}

// refusals gives what speaks against it, each once.
func refusals(replies []forceReply) []string {
	var out []string
	for _, r := range replies {
		if r.Answer == nil {
			continue
		}
		for _, why := range r.Answer.Plan.Refused {
			if !slices.Contains(out, why) {
				out = append(out, why)
			}
		}
	}
	return out
}

func (f *forceFlags) planned(w io.Writer, region chat.Region, replies []forceReply, refused []string) error {
	if f.asJSON {
		if err := printJSON(w, replies); err != nil {
			return err
		}
	} else if at := slices.IndexFunc(replies, func(r forceReply) bool { return r.Answer != nil }); at >= 0 {
		printPlan(w, replies[at].Answer.Plan) // the region's own, where it answers: only that knows where its people would go
	} else {
		return failed(replies[0].err)
	}
	if len(refused) > 0 {
		return &exitError{code: exitRefused, what: fmt.Sprintf("forcing %s down is refused: %s", region, strings.Join(refused, "; ")), next: "with --force, if it must be"}
	}
	return nil
}

// told says who has taken the word, and whether that is enough.
func (f *forceFlags) told(w io.Writer, region chat.Region, replies []forceReply) error {
	itself, others, failure := false, 0, error(nil)
	for _, r := range replies {
		switch {
		case r.Answer == nil:
			failure = r.err
		case r.Region == region:
			itself = r.Answer.Word.State != chat.ForceUp
		default:
			others++
		}
		if f.asJSON {
			continue
		}
		if r.Answer == nil {
			fmt.Fprintf(w, "%-14s %s\n", r.Region, strings.ReplaceAll(r.Error, "\n", "; "))
		} else {
			fmt.Fprintf(w, "%-14s tells: %s\n", r.Region, forceLine(region, r.Answer.Word))
		}
	}
	if f.asJSON {
		if err := printJSON(w, replies); err != nil {
			return err
		}
	}
	if need := (len(replies)-1)/2 + 1; !itself && others < need {
		code := exitFailed
		if exit := (*exitError)(nil); errors.As(failure, &exit) {
			code = exit.code
		}
		return &exitError{code: code, what: fmt.Sprintf("%d of the other regions have taken it, and %d are needed: it does not count", others, need), next: "meridian status"}
	}
	return nil
}

// forceLine says a word in one line.
func forceLine(region chat.Region, word chat.Force) string {
	if word.State == chat.ForceNone {
		return fmt.Sprintf("%s counts as the probes say", region)
	}
	return fmt.Sprintf("%s is forced %s until %s by %s: %s", region, word.State, word.Until.UTC().Format(time.RFC3339), word.By, word.Reason)
}
