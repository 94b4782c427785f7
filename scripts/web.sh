#!/usr/bin/env bash
# Builds the web client into web/dist where its sources are newer than what is there. Without Node the binary is built all
# the same and serves a plain page; --require makes that an error.
set -euo pipefail
cd "$(dirname "$0")/../web"
. ../scripts/try.sh

node_min=20.19
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "web: node or npm is missing (Node $node_min or newer); the binary will serve a page that says how to build the client" >&2
  [ "${1:-}" != --require ] || exit 1
  exit 0
fi
version=$(node --version)
if [ "$(printf '%s\n' "$node_min" "${version#v}" | sort -V | head -n 1)" != "$node_min" ]; then
  echo "web: Node $version is too old ($node_min or newer is needed); the binary will serve a page that says how to build the client" >&2
  [ "${1:-}" != --require ] || exit 1
  exit 0
fi

if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "web: npm ci"
  try npm ci --no-audit --no-fund
fi
if [ -f dist/index.html ] && [ -z "$(find src public scripts index.html package.json package-lock.json tsconfig.json vite.config.ts -newer dist/index.html -type f -print -quit)" ]; then
  exit 0
fi
echo "web: npm run build"
npm run build
