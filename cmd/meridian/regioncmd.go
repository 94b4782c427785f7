package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// regionCommand holds the verbs of a local `up` that break and mend regions.
func regionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "region", Short: "Drain regions and take them back; force them up or down; kill, start, cut and heal those of a local deployment"}
	for _, v := range []struct{ verb, short, long string }{
		{"kill", "End a region as a power cut would", "Closes the region's listeners and sockets without a close frame, runs no shutdown code and forgets all that was only in memory."},
		{"start", "Start a killed region from its directory", "The region recovers from its disk, catches up and is routed to again by itself."},
		{"cut", "Cut the backbone between a region and --peer, or all others", "The links hold all bytes, as a broken path does; nothing is told to either side. Both regions go on serving."},
		{"heal", "Heal what cut has cut", "What waited is delivered, in order, once."},
	} {
		cmd.AddCommand(regionVerbCommand(v.verb, v.short, v.long))
	}
	cmd.AddCommand(drainCommand(), returnCommand(), forceCommand(), releaseCommand())
	return cmd
}

func regionVerbCommand(verb, short, long string) *cobra.Command {
	var data, peer string
	var asJSON bool
	cmd := &cobra.Command{
		Use: verb + " REGION", Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := findUp(data)
			if err != nil {
				return err
			}
			path := "/v1/control/region/" + args[0] + "/" + verb
			if peer != "" {
				path += "?peer=" + peer
			}
			var states []regionState
			if err := r.call(cmd.Context(), "POST", path, &states); err != nil {
				return failed(err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), states)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", verb, args[0])
			for _, s := range states {
				fmt.Fprintln(cmd.OutOrStdout(), "  "+s.line())
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "data", "directory of the local deployment")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the regions' states as JSON")
	if verb == "cut" || verb == "heal" {
		cmd.Flags().StringVar(&peer, "peer", "", "only the link to this region")
	}
	return cmd
}

// line says how a region is, in one line.
func (s regionState) line() string {
	state := "running"
	if !s.Running {
		state = "DEAD"
	}
	if len(s.Cut) > 0 {
		cut := make([]string, len(s.Cut))
		for i, r := range s.Cut {
			cut[i] = string(r)
		}
		state += ", cut from " + strings.Join(cut, ", ")
	}
	return fmt.Sprintf("%-10s %s", s.Region, state)
}
