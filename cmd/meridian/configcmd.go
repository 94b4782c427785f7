package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"meridian/config"
)

// configCommand checks and shows configurations.
func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check a configuration, or show the built-in one"}
	cmd.AddCommand(&cobra.Command{
		Use: "check FILE", Short: "Say all that is wrong with a configuration", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(args[0])
			if err != nil {
				return failed(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: ok (%d regions, %d zones)\n", args[0], len(cfg.Regions), len(cfg.Zones))
			return nil
		},
	}, &cobra.Command{
		Use: "show", Short: "Print the built-in configuration of a local deployment", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return yaml.NewEncoder(cmd.OutOrStdout()).Encode(config.Default())
		},
	})
	return cmd
}
