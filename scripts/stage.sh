# Sourced by test.sh and check.sh: runs stages one after the other, each with a heading, a time limit and the time it took.
# A stage that fails or takes too long ends the run. A suite that does so is told at the end, for the next ones do not depend
# on it. The end of the whole budget ends both.

# budget SECONDS starts the clock of the whole run.
budget() {
  run_started=$SECONDS
  run_seconds=$1
}

failed_suites=()

# stage NAME SECONDS COMMAND...
stage() { timed "$@" || exit $?; }

# suite NAME SECONDS COMMAND...
suite() { timed "$@" || failed_suites+=("$1"); }

timed() {
  local name=$1 limit=$2 left started=$SECONDS code=0
  shift 2
  left=$((run_seconds - (SECONDS - run_started)))
  if [ "$left" -le 0 ]; then
    echo "=== $name: not run, the budget of ${run_seconds}s is used up" >&2
    exit 124
  fi
  [ "$limit" -le "$left" ] || limit=$left
  echo "=== $name"
  # In the background, so that an interrupt is passed on at once: timeout gives the stage a process group of its own.
  timeout --kill-after=15 "$limit" "$@" &
  trap "kill $! 2>/dev/null || true; wait $! || true; exit 130" INT TERM
  wait $! || code=$?
  trap - INT TERM
  if [ "$code" = 124 ] || [ "$code" = 137 ]; then
    echo "=== $name: stopped after ${limit}s" >&2
    return "$code"
  elif [ "$code" != 0 ]; then
    echo "=== $name: failed after $((SECONDS - started))s (exit code $code)" >&2
    return "$code"
  fi
  echo "=== $name: ok, $((SECONDS - started))s"
}

# finished NAME says how long the whole run took, and ends it with a failure where a suite had one.
finished() {
  if [ ${#failed_suites[@]} -gt 0 ]; then
    printf '=== %s: failed\n' "${failed_suites[@]}" >&2
    echo "=== $1: failed, $((SECONDS - run_started))s in all" >&2
    exit 1
  fi
  echo "=== $1: ok, $((SECONDS - run_started))s in all"
}
