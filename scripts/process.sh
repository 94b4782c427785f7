#!/usr/bin/env bash
# The process tests: real processes of bin/meridian, killed and cut while messages flow, and the runbooks against a live
# deployment. `go test ./...` runs neither: test/process under -short, runbooks without the build tag.
set -euo pipefail
cd "$(dirname "$0")/.."
export MERIDIAN_BIN="$PWD/bin/meridian"
go test -tags process -run '^TestProcess' -count 1 -v -timeout 8m ./runbooks
go test -count 1 -v -timeout 20m ./test/process
