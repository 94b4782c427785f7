# Sourced by the scripts that need the network.

# try COMMAND... runs it up to three times: a registry may not answer for a moment.
try() {
  local pause
  for pause in 5 30; do
    "$@" && return
    echo "again in ${pause}s: $*" >&2
    sleep "$pause"
  done
  "$@"
}
