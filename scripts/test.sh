#!/usr/bin/env bash
# `make test`: everything, one stage after the other. It takes about half an hour on two cores; the budget leaves room for a slow machine.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/stage.sh
budget 4200
stage dependencies 600 scripts/deps.sh
stage "web client" 600 scripts/web.sh --require
stage build 900 make --no-print-directory build
stage format 60 scripts/format.sh
stage vet 600 go vet ./...
stage "vet process tests" 300 go vet -tags process ./runbooks
# The process tests start processes for minutes: they have a stage of their own.
stage "Go tests" 1200 go test -p 1 -timeout 15m $(go list ./... | grep -v -e /test/process -e '/test/nemesis$')
stage "web tests" 300 npm --prefix web test
stage "browser tests" 600 npm --prefix web run e2e
stage "browser tests on real stores" 600 scripts/real.sh
stage "process tests" 900 scripts/process.sh
stage nemesis 600 scripts/nemesis.sh short
finished test
