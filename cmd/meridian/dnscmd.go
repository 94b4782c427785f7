package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"meridian/config"
	"meridian/router/dns/keys"
)

// parentTimeout bounds the question to a resolver for the parent's DS records.
const parentTimeout = 5 * time.Second

// keyFlags are the flags of the verbs of `dns key`.
type keyFlags struct {
	data, config, zone, resolver string
	dataGiven, json, force       bool
}

// keyInfo is what `dns key list --json` prints for each key.
type keyInfo struct {
	Zone     string     `json:"zone"`
	Tag      uint16     `json:"tag"`
	State    keys.State `json:"state"`
	Created  time.Time  `json:"created"`
	Activate *time.Time `json:"activate,omitempty"`
	Inactive *time.Time `json:"inactive,omitempty"`
	Delete   *time.Time `json:"delete,omitempty"`
	// ReadyAt: from when on a published key may be activated, or a retired one removed.
	ReadyAt *time.Time `json:"ready_at,omitempty"`
	DS      string     `json:"ds"`
}

// dnsCommand holds what an operator does about GeoDNS.
func dnsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dns", Short: "Make, show and roll the DNSSEC keys of GeoDNS"}
	cmd.AddCommand(dnsKeyCommand())
	return cmd
}

func dnsKeyCommand() *cobra.Command {
	var f keyFlags
	cmd := &cobra.Command{
		Use: "key", Short: "The DNSSEC keys, as files in router.name_server.dnssec.key_dir",
		Long: `The DNSSEC keys of the zones that GeoDNS serves: files in router.name_server.dnssec.key_dir, the same on all routers. Routers notice
within seconds that they have changed. A zone without keys is not signed. runbooks/dnssec-key-roll.md says how to roll a key.`,
	}
	add := func(use, short string, args cobra.PositionalArgs, run func(*cobra.Command, keyFlags, []string) error) *cobra.Command {
		verb := &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
			f.dataGiven = cmd.Flags().Changed("data")
			return failed(run(cmd, f, args))
		}}
		verb.Flags().StringVar(&f.data, "data", "data", "directory of the local deployment")
		verb.Flags().StringVar(&f.config, "config", "", "configuration file of the deployment")
		verb.Flags().StringVar(&f.zone, "zone", "", "the zone; default: router.domain")
		cmd.AddCommand(verb)
		return verb
	}
	add("new", "Make a key: the zone's first signs at once, a later one waits to be activated", cobra.NoArgs, runKeyNew)
	list := add("list", "Show the keys of all zones, and what may be done with them when", cobra.NoArgs, runKeyList)
	list.Flags().BoolVar(&f.json, "json", false, "print JSON")
	ds := add("ds", "Print the DS records that the parent zone is to have", cobra.NoArgs, runKeyDS)
	activate := add("activate [TAG]", "Let the published key sign, and retire the one that did", cobra.MaximumNArgs(1), runKeyActivate)
	remove := add("remove [TAG]", "Take the retired key out of the zone", cobra.MaximumNArgs(1), runKeyRemove)
	for _, verb := range []*cobra.Command{ds, remove} {
		verb.Flags().StringVar(&f.resolver, "resolver", "", "ask this resolver, host:port, which DS records the parent has")
	}
	for _, verb := range []*cobra.Command{activate, remove} {
		verb.Flags().BoolVar(&f.force, "force", false, "do not wait for caches: who validates by an old one gets no answer")
	}
	return cmd
}

// keyDeployment is the configuration, the keys and the zone that a verb is about.
type keyDeployment struct {
	cfg   *config.Config
	zone  string
	set   keys.Set
	waits keys.Waits
}

func (f keyFlags) open() (*keyDeployment, error) {
	cfg := config.Default()
	if f.config != "" {
		var err error
		if cfg, err = config.Load(f.config); err != nil {
			return nil, err
		}
	}
	if f.config == "" || f.dataGiven {
		cfg.DataDir = f.data
	}
	zones := cfg.DNSZones()
	if f.zone == "" {
		f.zone = zones[0]
	}
	f.zone = strings.TrimSuffix(strings.ToLower(f.zone), ".")
	if !slices.Contains(zones, f.zone) {
		return nil, &exitError{code: exitUsage, what: fmt.Sprintf("%q is no zone of the configuration; those are: %s", f.zone, strings.Join(zones, ", "))}
	}
	set, err := keys.Load(cfg.KeyPath())
	if err != nil {
		return nil, err
	}
	d := cfg.Router.NameServer.DNSSEC
	return &keyDeployment{
		cfg: cfg, zone: dns.Fqdn(f.zone), set: set,
		waits: keys.Waits{Key: d.KeyTTL, Data: cfg.Router.TTL, Parent: d.ParentDSTTL, Spread: d.KeySpread},
	}, nil
}

// openLocked is open for the verbs that change keys, one of which runs at a time.
func (f keyFlags) openLocked() (d *keyDeployment, unlock func(), err error) {
	if d, err = f.open(); err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(d.cfg.SecretsPath(), 0o700); err != nil {
		return nil, nil, err
	}
	if unlock, err = lockSecrets(d.cfg.SecretsPath()); err != nil {
		return nil, nil, err
	}
	if d, err = f.open(); err != nil { // what another verb has left
		unlock()
		return nil, nil, err
	}
	return d, unlock, nil
}

// key finds the key that an argument names, or the only one in the state that the verb is for.
func (d *keyDeployment) key(args []string, state keys.State) (*keys.Key, error) {
	if len(args) == 0 {
		candidates := d.set.In(d.zone, state, time.Now())
		if len(candidates) != 1 {
			return nil, &exitError{code: exitChanged, what: fmt.Sprintf("%s has %d keys that are %s, not one", d.zone, len(candidates), state), next: "meridian dns key list"}
		}
		return candidates[0], nil
	}
	n, err := strconv.ParseUint(args[0], 10, 16)
	if err == nil {
		if k := d.set.Find(d.zone, uint16(n)); k != nil {
			return k, nil
		}
	}
	return nil, &exitError{code: exitUsage, what: fmt.Sprintf("%s has no key with the tag %q", d.zone, args[0]), next: "meridian dns key list"}
}

func runKeyNew(cmd *cobra.Command, f keyFlags, _ []string) error {
	d, unlock, err := f.openLocked()
	if err != nil {
		return err
	}
	defer unlock()
	k, err := d.set.Add(d.zone, time.Now())
	if err != nil {
		return refusedRoll(err)
	}
	if err := k.Save(d.cfg.KeyPath()); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s key %d is %s\n", d.zone, k.Tag(), k.State(time.Now()))
	fmt.Fprintf(out, "DS for the parent zone: %s\n", k.DS(d.dsTTL()))
	d.sayNext(out, k)
	return nil
}

func (d *keyDeployment) dsTTL() uint32 { return uint32(d.waits.Parent.Seconds()) }

// sayNext prints what may be done with a key from when on.
func (d *keyDeployment) sayNext(out io.Writer, k *keys.Key) {
	if next := d.next(k); next != "" {
		fmt.Fprintln(out, "Next: "+next)
	}
}

func (d *keyDeployment) next(k *keys.Key) string {
	now := time.Now()
	switch k.State(now) {
	case keys.Published:
		return fmt.Sprintf("meridian dns key activate %d, from %s on", k.Tag(), k.ReadyAt(d.waits, now).Format(time.RFC3339))
	case keys.Retired:
		return fmt.Sprintf("meridian dns key remove %d, from %s on", k.Tag(), k.ReadyAt(d.waits, now).Format(time.RFC3339))
	case keys.Active, keys.Removed:
	}
	return ""
}

func runKeyList(cmd *cobra.Command, f keyFlags, _ []string) error {
	d, err := f.open()
	if err != nil {
		return err
	}
	now := time.Now()
	infos := []keyInfo{}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ZONE\tTAG\tSTATE\tCREATED\tNEXT")
	for _, zone := range d.cfg.DNSZones() {
		for _, k := range d.set[dns.Fqdn(zone)] {
			infos = append(infos, keyInfo{
				Zone: k.Zone, Tag: k.Tag(), State: k.State(now), Created: k.Created, Activate: given(k.Activate), Inactive: given(k.Inactive),
				Delete: given(k.Delete), ReadyAt: given(k.ReadyAt(d.waits, now)), DS: k.DS(d.dsTTL()).String(),
			})
			fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", k.Zone, k.Tag(), k.State(now), k.Created.Format(time.RFC3339), d.next(k))
		}
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), infos)
	}
	return table.Flush()
}

func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func runKeyDS(cmd *cobra.Command, f keyFlags, _ []string) error {
	d, err := f.open()
	if err != nil {
		return err
	}
	wanted := d.wanted()
	if len(wanted) == 0 {
		return &exitError{code: exitFailed, what: d.zone + " has no keys", next: "meridian dns key new"}
	}
	for _, ds := range wanted {
		fmt.Fprintln(cmd.OutOrStdout(), ds)
	}
	if f.resolver == "" {
		return nil
	}
	have, err := askParent(cmd.Context(), f.resolver, d.zone)
	if err != nil {
		return err
	}
	for _, ds := range wanted {
		if !slices.ContainsFunc(have, func(h *dns.DS) bool { return sameDS(h, ds) }) {
			return &exitError{code: exitDegraded, what: fmt.Sprintf("the parent of %s has no DS record of key %d; it has %d other(s)", d.zone, ds.KeyTag, len(have))}
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "the parent of %s has them\n", d.zone)
	return nil
}

// wanted gives the DS records of the keys that sign or will: as CDS says.
func (d *keyDeployment) wanted() []*dns.DS {
	now := time.Now()
	var out []*dns.DS
	for _, k := range append(d.set.In(d.zone, keys.Active, now), d.set.In(d.zone, keys.Published, now)...) {
		out = append(out, k.DS(d.dsTTL()))
	}
	return out
}

func sameDS(a, b *dns.DS) bool {
	return a.KeyTag == b.KeyTag && a.Algorithm == b.Algorithm && a.DigestType == b.DigestType && strings.EqualFold(a.Digest, b.Digest)
}

// askParent asks a resolver for the DS records of a zone.
func askParent(ctx context.Context, resolver, zone string) ([]*dns.DS, error) {
	ctx, cancel := context.WithTimeout(ctx, parentTimeout)
	defer cancel()
	q := new(dns.Msg).SetQuestion(zone, dns.TypeDS)
	answer, _, err := (&dns.Client{Net: "tcp"}).ExchangeContext(ctx, q, resolver)
	if err != nil {
		return nil, &exitError{code: exitUnreachable, what: "the resolver does not answer: " + err.Error()}
	}
	if answer.Rcode != dns.RcodeSuccess {
		return nil, &exitError{code: exitFailed, what: fmt.Sprintf("the resolver answers %s for the DS records of %s", dns.RcodeToString[answer.Rcode], zone)}
	}
	var out []*dns.DS
	for _, rr := range answer.Answer {
		if ds, ok := rr.(*dns.DS); ok {
			out = append(out, ds)
		}
	}
	return out, nil
}

func runKeyActivate(cmd *cobra.Command, f keyFlags, args []string) error {
	d, unlock, err := f.openLocked()
	if err != nil {
		return err
	}
	defer unlock()
	k, err := d.key(args, keys.Published)
	if err != nil {
		return err
	}
	changed, err := d.set.ActivateKey(k, d.waits, time.Now(), f.force)
	if err != nil {
		return refusedRoll(err)
	}
	for _, one := range changed {
		if err := one.Save(d.cfg.KeyPath()); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s key %d is %s\n", d.zone, one.Tag(), one.State(time.Now()))
	}
	for _, one := range changed {
		d.sayNext(cmd.OutOrStdout(), one)
	}
	return nil
}

func runKeyRemove(cmd *cobra.Command, f keyFlags, args []string) error {
	d, unlock, err := f.openLocked()
	if err != nil {
		return err
	}
	defer unlock()
	k, err := d.key(args, keys.Retired)
	if err != nil {
		return err
	}
	if f.resolver != "" {
		if err := d.parentLetsGo(cmd.Context(), f.resolver, k); err != nil {
			return err
		}
	}
	if err := d.set.RemoveKey(k, d.waits, time.Now(), f.force); err != nil {
		return refusedRoll(err)
	}
	if err := k.Save(d.cfg.KeyPath()); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s key %d is %s\n", d.zone, k.Tag(), k.State(time.Now()))
	return nil
}

// parentLetsGo refuses to remove a key that the parent still names.
func (d *keyDeployment) parentLetsGo(ctx context.Context, resolver string, k *keys.Key) error {
	have, err := askParent(ctx, resolver, d.zone)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(have, func(ds *dns.DS) bool { return ds.KeyTag == k.Tag() }) {
		return &exitError{code: exitRefused, what: fmt.Sprintf("the parent of %s still has a DS record of key %d", d.zone, k.Tag()), next: "meridian dns key ds"}
	}
	return nil
}

// refusedRoll turns what a rollover refuses into the exit code for it.
func refusedRoll(err error) error {
	return &exitError{code: exitRefused, what: err.Error(), next: "meridian dns key list"}
}
