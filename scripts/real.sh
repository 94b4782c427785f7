#!/usr/bin/env bash
# The browser tests of a person's day and of a region's loss, on three regions with a real Cassandra cluster and a real Redis each.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
ended() {
  deploy/local/down --purge --dir "$dir"
  rm -rf "$dir"
}
trap ended EXIT
deploy/local/up --dir "$dir"
MERIDIAN_E2E_LOCAL=$dir node --test --test-concurrency=1 web/e2e/chat.test.mjs web/e2e/failover.test.mjs
