package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"meridian/chat"
	"meridian/config"
	"meridian/observe"
	"meridian/store/composed"
	"meridian/store/postgres"
)

// withAccounts gives a node a store whose accounts lie in the region's PostgreSQL, if the configuration names one. A server that does
// not answer does not keep the node from starting: messages need no accounts.
func withAccounts(ctx context.Context, cfg *config.Config, ref chat.NodeRef, main chat.Store, log *slog.Logger, m *observe.Metrics) (chat.Store, error) {
	r, _ := cfg.Region(ref.Region)
	if r.Postgres == nil {
		return main, nil
	}
	o, err := postgresOptions(cfg, r.Postgres.WithDefaults(), log)
	var accounts *postgres.Store
	if err == nil {
		accounts, err = postgres.Open(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the account store of region %s: %w", ref.Region, err), main.Close())
	}
	up := func(answers bool) { m.Set("accounts_up", map[bool]float64{true: 1}[answers]) }
	return composed.New(composed.Options{
		Main: main, Accounts: accounts, Node: ref, Log: log,
		Metrics: composed.Metrics{Up: up, Owed: func(rows int) { m.Add("accounts_owed_total", float64(rows)) }},
	}), nil
}

func postgresOptions(cfg *config.Config, p config.Postgres, log *slog.Logger) (postgres.Options, error) {
	secret, err := password(cfg, p.PasswordFile)
	if err != nil {
		return postgres.Options{}, err
	}
	secure, err := serverTLS(cfg, trusted{ca: p.CAFile, name: p.ServerName})
	if err != nil {
		return postgres.Options{}, err
	}
	u := url.URL{Scheme: "postgres", User: url.User(p.User), Host: p.Address, Path: "/" + p.Database, RawQuery: "sslmode=disable"}
	return postgres.Options{URL: u.String(), Password: secret, TLS: secure, MaxConns: p.Connections, Timeout: p.Timeout, Lazy: true, Log: log}, nil
}
