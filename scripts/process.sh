#!/usr/bin/env bash
# The process tests: real processes of bin/meridian, killed and cut while messages flow. They carry the build tag "process",
# so that `go test ./...` leaves them out. That there are none is a failure: it would look like success.
set -euo pipefail
cd "$(dirname "$0")/.."
listed=$(go test -tags process -list '^TestProcess' ./cmd/...)
if ! grep -q '^TestProcess' <<<"$listed"; then
  echo "process: no test with the build tag process is called TestProcess…" >&2
  exit 1
fi
go test -tags process -run '^TestProcess' -count 1 -p 1 -timeout 14m ./cmd/...
