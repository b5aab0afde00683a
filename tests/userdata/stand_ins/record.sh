# shellcheck shell=bash
# Sourced by every stand-in: writes down who was called with what, one line a call.
NAME="${0##*/}"
printf '%s\n' "$NAME$(printf ' %q' "$@")" >>"$CALLS"
# plan NAME: what the test wants of this stand-in; nothing if it wants nothing.
plan() { if [ -e "$PLANS/$1" ]; then cat "$PLANS/$1"; fi; }
