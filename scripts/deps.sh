#!/usr/bin/env bash
# Makes sure that what the tests need is installed; `deps.sh servers`: only what the real servers of deploy/local need;
# `deps.sh bench-dns`, `deps.sh bench-edge`: only the servers that Meridian's are measured beside. What is missing and comes from Debian is installed by apt-get when this runs as root; else it says what to install, and fails.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-tests}
. scripts/try.sh

fail() { echo "deps: $*" >&2; exit 1; }

# at_least MINIMUM VERSION
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

command -v git >/dev/null || fail "git is missing"
command -v go >/dev/null || fail "Go is missing: install Go 1.26 or newer from https://go.dev/dl/"
go_version=$(go env GOVERSION)
at_least 1.26 "${go_version#go}" || fail "Go ${go_version#go} is too old: 1.26 or newer is needed"
if [ "$what" = tests ]; then
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    fail "Node is missing: install Node 20.19 or newer, with npm, from https://nodejs.org/"
  fi
  node_version=$(node --version)
  at_least 20.19 "${node_version#v}" || fail "Node ${node_version#v} is too old: 20.19 or newer is needed"
fi

packages=()
if [ "$what" = bench-dns ]; then
  export PATH="$PATH:/usr/sbin"
  command -v knotd >/dev/null || packages+=(knot)
  ls /usr/lib/*/knot/modules-*/geoip.so >/dev/null 2>&1 || packages+=(knot-module-geoip)
  command -v gdnsd >/dev/null || packages+=(gdnsd)
  command -v taskset >/dev/null || packages+=(util-linux)
elif [ "$what" = bench-edge ]; then
  export PATH="$PATH:/usr/sbin"
  command -v haproxy >/dev/null || packages+=(haproxy)
else
  # deploy/local starts the servers itself: Debian's own service of Redis stays off.
  command -v redis-server >/dev/null || packages+=(redis-server)
  command -v java >/dev/null || packages+=(openjdk-17-jre-headless)
  command -v mvn >/dev/null || packages+=(maven)
fi
if [ "$what" = tests ]; then
  command -v chromium >/dev/null || packages+=(chromium)
  if ! command -v dig >/dev/null || ! command -v delv >/dev/null; then packages+=(bind9-dnsutils); fi
  command -v dnssec-dsfromkey >/dev/null || packages+=(bind9-utils)
  command -v kdig >/dev/null || packages+=(knot-dnsutils)
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || packages+=(postgresql)
  python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv) # for moto, which speaks the API of Route 53
  ls /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server >/dev/null 2>&1 || packages+=(rabbitmq-server)
  # For the nemesis, which needs root and falls back to less without.
  if [ "$(id -u)" = 0 ]; then
    command -v ip >/dev/null || packages+=(iproute2)
    command -v nft >/dev/null || packages+=(nftables)
  fi
fi
if [ "${#packages[@]}" -gt 0 ]; then
  command -v apt-get >/dev/null || fail "missing: ${packages[*]} (names of Debian packages); install them by your package manager"
  [ "$(id -u)" = 0 ] || fail "missing: ${packages[*]}; run: sudo apt-get install -y --no-install-recommends ${packages[*]}"
  echo "deps: installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # A package that brings a service asks this file whether it may start it (101: no).
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  # The lists come anew with each try: an update that failed in part says so by no exit code, and lists that are old name packages
  # that are gone. Another apt-get may be at work.
  install_packages() {
    apt-get update -qq || echo "deps: going on with the package lists that are here" >&2
    apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "${packages[@]}" >/dev/null
  }
  try install_packages
fi
if [ "$what" = tests ]; then
  try go mod download
  scripts/moto.sh >/dev/null
fi
if [ "$what" = bench-dns ]; then
  echo "deps: ${go_version}, $(knotd --version), gdnsd, taskset"
  exit
fi
if [ "$what" = bench-edge ]; then
  echo "deps: ${go_version}, $(haproxy -v | head -n 1)"
  exit
fi
# Cassandra 5.0 runs with Java 17 here: another one beside it must not come first.
java=java
[ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
java_version=$("$java" -version 2>&1 | sed -n 's/.*version "\([^"]*\)".*/\1/p') || true
case $java_version in
  17*) ;;
  *) fail "$java is version ${java_version:-unknown}: Cassandra needs Java 17; install openjdk-17-jre-headless, or set JAVA_HOME" ;;
esac
found="${go_version}, Java ${java_version}, $(redis-server --version | cut -d ' ' -f 1-3)"
[ "$what" = servers ] || found+=", node ${node_version}, $(chromium --version 2>/dev/null | head -n 1), dig, delv, kdig"
echo "deps: $found"
