#!/usr/bin/env bash
# `make check`: the rules of the house and the fast tests, in under two minutes once things are compiled.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/stage.sh
budget 600
stage format 60 scripts/format.sh
stage vet 300 go vet ./...
stage rules 120 go test -timeout 2m .
stage "fast tests" 300 go test -short -timeout 4m ./chat/... ./config/... ./observe/... ./residency/... ./replication ./router/decide/... ./proto/...
finished check
