#!/usr/bin/env bash
# The nemesis: real processes that are killed, frozen, cut off, starved and upgraded while people write, and judged by what
# the people were told and shown. "short" takes about 5 minutes, "full" about 20. The report is written to .cache/nemesis.
# It runs in a mount namespace of its own where that is allowed, so that the small disk goes with it.
set -euo pipefail
cd "$(dirname "$0")/.."
matrix=${1:-short}
export MERIDIAN_BIN="$PWD/bin/meridian"
apart=()
if unshare --mount true 2>/dev/null; then
  apart=(unshare --mount --propagation private)
fi
exec "${apart[@]}" go test -count 1 -v -timeout 40m ./test/nemesis -matrix "$matrix"
