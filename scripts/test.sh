#!/usr/bin/env bash
# `make test`: everything, one stage after the other. It takes over half an hour on two cores; the budget leaves room for a slow machine.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/stage.sh
budget 4800
# The limits end what hangs; each leaves several times what the stage takes on two cores.
stage dependencies 1200 scripts/deps.sh
stage "web client" 900 scripts/web.sh --require
stage build 900 make --no-print-directory build
stage format 300 scripts/format.sh
stage vet 600 go vet ./...
stage "vet process tests" 300 go vet -tags process ./runbooks
# What starts processes or servers for minutes has stages of its own.
servers='^meridian/(store/(cassandra|redis|postgres|events|objects)|deploy/local)'
# These two are built from source the first time, for minutes, and others need them.
suite "S3 and ACME servers" 900 go test -timeout 14m ./deploy/local ./front -run '^(TestVersityGW|TestExternalAccounts)$'
suite "Go tests" 1800 go test -p 1 -timeout 15m $(go list ./... | grep -v -E -e /test/process -e '/test/nemesis$' -e "$servers")
suite "real stores" 1500 go test -p 1 -timeout 20m $(go list ./... | grep -E "$servers")
suite "web tests" 600 npm --prefix web test
suite "browser tests" 900 npm --prefix web run e2e
suite "browser tests on real stores" 900 scripts/real.sh
suite "process tests" 1800 scripts/process.sh
suite nemesis 1200 scripts/nemesis.sh short
finished test
