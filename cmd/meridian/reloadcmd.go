package main

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/wire"
)

// reloadPath is where a router is told to read its configuration again.
const reloadPath = "/v1/admin/reload"

// reloaded answers it.
type reloaded struct {
	Config  string        `json:"config"` // the file
	Regions []chat.Region `json:"regions"`
	Added   []chat.Region `json:"added,omitempty"`
	Removed []chat.Region `json:"removed,omitempty"`
}

// reloadHandler has the router of a process read its configuration file again; with ?force=true also where the file leaves out a region in
// which people are. It wants the admin token.
func (d *deployment) reloadHandler(file string, reload func(cfg *config.Config, force bool) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if d.secrets.adminToken == "" || subtle.ConstantTimeCompare([]byte(token), []byte(d.secrets.adminToken)) != 1 {
			wire.WriteError(w, r, &chat.Error{Code: chat.CodeUnauthorized, Message: "the admin token is missing or wrong"})
			return
		}
		cfg, err := config.Load(file)
		before := d.routed().Topology().Regions
		if err == nil {
			err = reload(cfg, r.URL.Query().Get("force") == "true")
		}
		if err != nil {
			d.log.Error("the configuration is not taken; the old one stays", "file", file, "error", err)
			wire.WriteError(w, r, err)
			return
		}
		d.reread.Store(cfg)
		now := cfg.Topology().Regions
		answer := reloaded{Config: file, Regions: now, Added: without(now, before), Removed: without(before, now)}
		d.log.Info("configuration reloaded", "file", file, "added", answer.Added, "removed", answer.Removed)
		wire.WriteJSON(w, http.StatusOK, answer)
	})
}

// without gives those of a list that are not in the other.
func without(list, other []chat.Region) []chat.Region {
	var out []chat.Region
	for _, r := range list {
		if !slices.Contains(other, r) {
			out = append(out, r)
		}
	}
	return out
}

// routed gives the configuration that the router of this process goes by: the one that was read again, or the first.
func (d *deployment) routed() *config.Config {
	if cfg := d.reread.Load(); cfg != nil {
		return cfg
	}
	return d.cfg
}

// reloadCommand has a running router read its configuration file again.
func reloadCommand() *cobra.Command {
	var file string
	var force, asJSON bool
	cmd := &cobra.Command{
		Use: "reload", Short: "Have a running router read its configuration file again", Args: cobra.NoArgs,
		Long: `Have a running router read its configuration file again: regions and where they are, zones and their hosts, rules, biases, limits of
health, ttl, ttl_degraded, answer_regions, and the address files. It is refused (exit code 4) when the file leaves out a region in which people are;
--force does it all the same. What sockets and names hang on (router.http, router.dns, router.domain, name, data_dir, a zone that is new)
needs a restart. Region nodes read their configuration when they start.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runReload(cmd.Context(), file, force, asJSON, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also when the file leaves out a region in which people are")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&file, "config", "", "configuration file of the deployment: where the router is, and its secrets")
	_ = cmd.MarkFlagRequired("config") // the flag exists
	return cmd
}

func runReload(ctx context.Context, file string, force, asJSON bool, out io.Writer) error {
	cfg, err := config.Load(file)
	if err != nil {
		return failed(err)
	}
	s, err := loadSecrets(cfg)
	if err != nil {
		return failed(err)
	}
	url := cfg.Router.BaseURL() + reloadPath
	if force {
		url += "?force=true"
	}
	var answer reloaded
	if err := callAdmin(ctx, url, s.adminToken, http.MethodPost, &answer); err != nil {
		return err
	}
	if asJSON {
		return printJSON(out, answer)
	}
	fmt.Fprintf(out, "%s is taken: regions %s\n", answer.Config, names(answer.Regions))
	for _, change := range []struct {
		what    string
		regions []chat.Region
	}{{"new", answer.Added}, {"left out", answer.Removed}} {
		if len(change.regions) > 0 {
			fmt.Fprintf(out, "%s: %s\n", change.what, names(change.regions))
		}
	}
	return nil
}

// names gives regions in words.
func names(regions []chat.Region) string {
	out := make([]string, len(regions))
	for i, r := range regions {
		out[i] = string(r)
	}
	return strings.Join(out, ", ")
}
