# shellcheck shell=bash
# What worker_boot.sh and boot_failed.sh share; sourced after boot.env.
ROOT="${ROOT:-}"
export AWS_REGION AWS_DEFAULT_REGION="$AWS_REGION" AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=3 AWS_PAGER=""
# shellcheck disable=SC2034  # read by those who source this
LOG_DIR="$ROOT/var/log/receipt-trainer"

# A full disk must not keep a failing instance from what comes after the message.
log() {
  if ! printf '%s %s\n' "$(date -u +%FT%TZ)" "$*"; then return 0; fi
}

# The system's CLI by its path: an `aws` of a conda environment on PATH is another one.
aws_call() { timeout "$CALL_TIMEOUT_S" "$ROOT/usr/bin/aws" "$@"; }

# fill_json TEMPLATE NAME=VALUE...: "@NAME" in the JSON becomes the text VALUE, "#NAME" the whole number.
fill_json() {
  "$ROOT/usr/bin/python3" -I -c '
import json, os, sys
given = dict(os.fsencode(a).decode("utf-8", "replace").split("=", 1) for a in sys.argv[2:])
def fill(value):
    if isinstance(value, str) and value[:1] in ("@", "#") and value[1:] in given:
        return given[value[1:]] if value[0] == "@" else int(given[value[1:]])
    return value
print(json.dumps(json.loads(sys.argv[1], object_hook=lambda d: {k: fill(v) for k, v in d.items()})))' "$@"
}
