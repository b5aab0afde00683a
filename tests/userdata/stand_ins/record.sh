# shellcheck shell=bash
# Sourced by every stand-in: writes down who was called with what, one line a call.
NAME="${0##*/}"
printf '%s\n' "$NAME$(printf ' %q' "$@")" >>"$CALLS"
# plan NAME: what the test wants of this stand-in; nothing if it wants nothing.
plan() { if [ -e "$PLANS/$1" ]; then cat "$PLANS/$1"; fi; }
# fails NAME: ends the stand-in with an error as often as the test wants, for a network that is not there yet.
fails() {
  local left
  left="$(plan "$1-failures")"
  if [ "${left:-0}" -gt 0 ]; then
    echo "$((left - 1))" >"$PLANS/$1-failures"
    echo "could not connect to the endpoint" >&2
    exit 1
  fi
}
