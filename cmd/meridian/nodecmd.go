package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
)

// nodeCommand runs one region as a process of its own.
func nodeCommand() *cobra.Command {
	var file, region string
	cmd := &cobra.Command{
		Use: "node", Short: "Run one region's node from a configuration file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(runNode(cmd.Context(), file, chat.Region(region), cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file of the deployment")
	cmd.Flags().StringVar(&region, "region", "", "the region to run")
	_ = cmd.MarkFlagRequired("config") // the flags exist
	_ = cmd.MarkFlagRequired("region")
	return cmd
}

func runNode(ctx context.Context, file string, region chat.Region, stdout, stderr io.Writer) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	r, ok := cfg.Region(region)
	if !ok {
		return &exitError{code: exitUsage, what: fmt.Sprintf("%q is not a region of %s; known: %v", region, file, cfg.Topology().Regions)}
	}
	d, err := newDeployment(cfg, stderr, false)
	if err != nil {
		return err
	}
	ls, err := rebind(r)
	if err != nil {
		return err
	}
	node, err := d.startRegion(ctx, region, ls)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "ready %s http=%s admin=%s backbone=%s\n", region, r.HTTP, r.Admin, r.Backbone)
	<-ctx.Done()
	return node.Close()
}
