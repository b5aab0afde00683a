#!/bin/bash
# Makes the parent image a worker's image. Nothing is fetched but system packages and what lies in the wheels bucket.
set -euo pipefail
umask 022
ROOT="${ROOT:-}"
BAKE_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=/dev/null
. "$BAKE_DIR/bake.env"
# shellcheck source=userdata/install_trainer.sh
. "$BAKE_DIR/install_trainer.sh"

# Where the wheels are is asked now, not when this was written: a new trainer is no new component. The later phases, on
# another machine, must mean the same wheels: hence the file.
find_wheelhouse() {
  local value
  value="$(patiently "$ROOT/usr/bin/aws" ssm get-parameter --region "$AWS_REGION" --name "$WHEELHOUSE_PARAMETER" \
    --query Parameter.Value --output text)"
  "$ROOT/usr/bin/python3" -I -c '
import json, shlex, sys
found = json.loads(sys.argv[1])
for name, key in ("WHEELS_BUCKET", "bucket"), ("WHEELHOUSE_PREFIX", "prefix"), ("WHEELHOUSE_HASH", "hash"):
    print("export " + name + "=" + shlex.quote(found[key]))' "$value" >"$BAKE_DIR/wheelhouse.env"
  # shellcheck source=/dev/null
  . "$BAKE_DIR/wheelhouse.env"
  echo "ami_install: the wheelhouse is s3://$WHEELS_BUCKET/$WHEELHOUSE_PREFIX/"
}

# The parent may itself be a worker's image: until all is done, the marker must not say that it is.
rm -f "$IMAGE_MARKER"
for step in install_packages find_wheelhouse fetch_wheels install_wheels warm_cache write_marker; do
  echo "ami_install: $step"
  "$step"
done
