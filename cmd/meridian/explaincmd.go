package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/spf13/cobra"

	"meridian/chat"
	"meridian/config"
	"meridian/region-node/wire"
	"meridian/router"
)

// explainCommand prints decisions with their reasons, from the code that decides.
func explainCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "explain", Short: "Say why: which region serves an address or a person, and what spoke for and against each"}
	cmd.AddCommand(explainIPCommand(), explainUserCommand())
	return cmd
}

func explainIPCommand() *cobra.Command {
	var data, configFile, zone string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ip ADDR", Short: "Explain which region serves an address",
		Long: `Explain which region serves an address, with distance, round trips and reasons. A running local deployment is asked, so
that health counts; without one the answer is by the configuration alone.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := netip.ParseAddr(args[0])
			if err != nil {
				return &exitError{code: exitUsage, what: fmt.Sprintf("%q is not an IP address", args[0]), next: "meridian explain ip 81.2.69.142"}
			}
			var explained router.Explanation
			if up, upErr := findUp(data); upErr == nil && configFile == "" {
				explained, err = explainRunning(cmd.Context(), "http://"+up.Router.HTTP, addr, zone)
			} else {
				explained, err = explainConfigured(configFile, addr, zone)
			}
			if err != nil {
				return failed(err)
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), explained)
			} else {
				_, err = fmt.Fprint(cmd.OutOrStdout(), explained.Text)
			}
			if err == nil && explained.Error != "" {
				return &exitError{code: exitFailed}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "data", "directory of the local deployment")
	cmd.Flags().StringVar(&configFile, "config", "", "decide by this configuration, without health")
	cmd.Flags().StringVar(&zone, "zone", "", "for a person whose home zone this is")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// explainRunning asks the router that listens at host:port.
// explainRunning asks the router at a base URL.
func explainRunning(ctx context.Context, base string, addr netip.Addr, zone string) (router.Explanation, error) {
	var e router.Explanation
	query := url.Values{"ip": {addr.String()}}
	if zone != "" {
		query.Set("zone", zone)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/explain?"+query.Encode(), nil)
	if err != nil {
		return e, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return e, &exitError{code: exitUnreachable, what: "the router does not answer: " + err.Error(), next: "meridian status"}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return e, err
	}
	if json.Unmarshal(body, &e) == nil && len(e.Regions) > 0 {
		return e, nil // also when no region may serve: that is explained too
	}
	var refused wire.Error
	_ = json.Unmarshal(body, &refused) // without a body the status speaks
	return e, &chat.Error{Code: refused.Code, Message: refused.Message + " (" + resp.Status + ")"}
}

// explainConfigured decides by the configuration alone: nobody has asked the regions how they are.
func explainConfigured(configFile string, addr netip.Addr, zone string) (router.Explanation, error) {
	cfg := config.Default()
	if configFile != "" {
		var err error
		if cfg, err = config.Load(configFile); err != nil {
			return router.Explanation{}, err
		}
	}
	cfg.Router.DNS = "" // whose keys not everybody may read
	r, err := router.New(router.Options{Config: cfg})
	if err != nil {
		return router.Explanation{}, err
	}
	return r.Explain(addr, chat.Zone(zone), "")
}
