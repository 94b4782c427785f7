#!/usr/bin/env bash
# Prints the path of moto's server, which speaks the API of Amazon Route 53 to the tests. It is installed into .cache (140 MB), by pip
# and as scripts/moto-requirements.txt has it, unless it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/try.sh
fail() { echo "moto: $*" >&2; exit 1; }

command -v python3 >/dev/null || fail "python3 is missing: install Python 3.10 or newer (Debian: apt-get install python3 python3-venv)"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$(python3 --version) is too old: Python 3.10 or newer is needed"
# Another list or another Python: another directory.
sum=$( (cat scripts/moto-requirements.txt; python3 -c 'import sys; print(sys.version, sys.executable)') | sha256sum | cut -c 1-12)
dir=$PWD/.cache/moto-$sum
mkdir -p .cache
exec 9>"$dir.lock"
flock 9 # tests that come at once wait for one another
if [ ! -e "$dir/installed" ]; then
  rm -rf "$dir"
  echo "moto: installing into $dir" >&2
  python3 -m venv "$dir" >&2 || fail "python3 cannot make a virtual environment (Debian: apt-get install python3-venv)"
  try "$dir/bin/pip" install --quiet --disable-pip-version-check --no-input -r scripts/moto-requirements.txt >&2 ||
    fail "pip cannot install moto: it needs a package index, see its words above"
  touch "$dir/installed"
fi
echo "$dir/bin/moto_server"
