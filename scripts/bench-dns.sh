#!/usr/bin/env bash
# `make bench-dns`: Meridian's GeoDNS beside Knot with its geoip module and gdnsd, which are installed from Debian when this
# runs as root. Needs two cores and Linux. Arguments go to the program: scripts/bench-dns.sh -rounds 5
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(nproc)" -ge 2 ] || { echo "bench-dns: needs two cores: one for the server, one for the load" >&2; exit 1; }
scripts/deps.sh bench-dns
mkdir -p .cache/bin
go build -o .cache/bin/dnsbench ./test/dnsbench
export PATH="$PATH:/usr/sbin"
exec .cache/bin/dnsbench -meridian bin/meridian "$@"
