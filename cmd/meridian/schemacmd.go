package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	"meridian/observe"
	"meridian/store/cassandra"
)

// schemaResult is what `meridian schema` prints with --json, one object per region.
type schemaResult struct {
	Region   chat.Region `json:"region"`
	Keyspace string      `json:"keyspace"`
	Have     int         `json:"have"`
	Want     int         `json:"want"`
	// Steps are those that are missing, or that were applied.
	Steps []string `json:"steps"`
	// Statements of the missing steps; plan only.
	Statements []string `json:"statements,omitempty"`
}

type schemaFlags struct {
	file, region string
	json         bool
}

// schemaCommand shows and applies the schema of the regions' clusters.
func schemaCommand() *cobra.Command {
	var f schemaFlags
	cmd := &cobra.Command{Use: "schema", Short: "Show or apply the tables that this version needs in the regions' Cassandra"}
	plan := &cobra.Command{
		Use: "plan", Short: "Say what apply would do; change nothing (exit code 3: something is missing)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(runSchema(cmd.Context(), f, false, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	apply := &cobra.Command{
		Use: "apply", Short: "Make the tables that are missing; may run twice, and from two places at once", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(runSchema(cmd.Context(), f, true, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	for _, c := range []*cobra.Command{plan, apply} {
		c.Flags().StringVar(&f.file, "config", "", "configuration file of the deployment")
		c.Flags().StringVar(&f.region, "region", "", "only this region")
		c.Flags().BoolVar(&f.json, "json", false, "print one JSON object per region")
		_ = c.MarkFlagRequired("config") // the flag exists
	}
	cmd.AddCommand(plan, apply)
	return cmd
}

// regionSchema plans, or applies, one region's schema.
func regionSchema(ctx context.Context, cfg *config.Config, r config.Region, apply bool, talk io.Writer) (cassandra.SchemaPlan, error) {
	log := observe.NewLogger(talk, observe.Telemetry(cfg.Telemetry)).With("region", r.Name)
	o, err := cassandraOptions(cfg, chat.NodeRef{Region: r.Name, Node: config.OnlyNode}, true, log)
	if err != nil {
		return cassandra.SchemaPlan{}, err
	}
	schema, err := cassandra.NewSchema(o, r.Cassandra.WithDefaults(string(r.Name)).Replicas)
	if err != nil {
		return cassandra.SchemaPlan{}, err
	}
	if !apply {
		return schema.Plan(ctx)
	}
	return schema.Apply(ctx, func(step cassandra.Migration, statement int) {
		fmt.Fprintf(talk, "%s: step %d (%s), statement %d of %d\n", r.Name, step.Version, step.Name, statement+1, len(step.Statements))
	})
}

func printSchema(out io.Writer, asJSON, applied bool, region chat.Region, plan cassandra.SchemaPlan) error {
	result := schemaResult{Region: region, Keyspace: plan.Keyspace, Have: plan.Have, Want: plan.Want, Steps: []string{}}
	for _, step := range plan.Missing {
		result.Steps = append(result.Steps, fmt.Sprintf("%d %s", step.Version, step.Name))
		if !applied {
			result.Statements = append(result.Statements, step.Statements...)
		}
	}
	if asJSON {
		return json.NewEncoder(out).Encode(result)
	}
	switch {
	case len(plan.Missing) == 0:
		fmt.Fprintf(out, "%s: keyspace %s has schema %d: nothing to do\n", region, plan.Keyspace, plan.Have)
	case applied:
		fmt.Fprintf(out, "%s: keyspace %s: schema %d to %d applied\n", region, plan.Keyspace, plan.Have, plan.Want)
	default:
		fmt.Fprintf(out, "%s: keyspace %s has schema %d, this version needs %d; missing:\n", region, plan.Keyspace, plan.Have, plan.Want)
		for _, statement := range result.Statements {
			fmt.Fprintln(out, statement+";")
		}
	}
	return nil
}

func runSchema(ctx context.Context, f schemaFlags, apply bool, stdout, stderr io.Writer) error {
	cfg, err := config.Load(f.file)
	if err != nil {
		return err
	}
	found, behind := false, false
	for _, r := range cfg.Regions {
		if r.Cassandra == nil || f.region != "" && string(r.Name) != f.region {
			continue
		}
		found = true
		plan, err := regionSchema(ctx, cfg, r, apply, stderr)
		if err != nil {
			return fmt.Errorf("region %s: %w", r.Name, err)
		}
		if plan.Have > plan.Want {
			return &exitError{code: exitRefused, what: fmt.Sprintf("%s: keyspace %s has schema %d, this version knows %d: it was made by a newer version", r.Name, plan.Keyspace, plan.Have, plan.Want)}
		}
		behind = behind || len(plan.Missing) > 0
		if err := printSchema(stdout, f.json, apply, r.Name, plan); err != nil {
			return err
		}
	}
	if !found {
		return &exitError{code: exitUsage, what: "no region of " + f.file + " has a cassandra", next: "meridian config check " + f.file}
	}
	if !apply && behind {
		return &exitError{code: exitDegraded, what: "tables are missing", next: "meridian schema apply --config " + f.file}
	}
	return nil
}
