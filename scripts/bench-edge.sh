#!/usr/bin/env bash
# `make bench-edge`: what it costs that a socket ends in another region than its person's home, beside HAProxy before the home, which is
# installed from Debian when this runs as root. Linux only, about 2 min. Arguments go to the program: scripts/bench-edge.sh -idle 500
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh bench-edge
mkdir -p .cache/bin
go build -o .cache/bin/edgebench ./test/edgebench
export PATH="$PATH:/usr/sbin"
exec .cache/bin/edgebench -meridian bin/meridian "$@"
