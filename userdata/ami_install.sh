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

# Without internet no model can be fetched from its hub: whoever wants one in the image puts a cache under hf_cache/.
warm_cache() {
  local cache="$ROOT/opt/hf_cache"
  mkdir -p "$cache"
  "$ROOT/usr/bin/aws" s3 sync --only-show-errors "s3://$WHEELS_BUCKET/hf_cache/" "$cache/"
  chown -R 1000:1000 "$cache"
  chmod -R u=rwX,go=rX "$cache"
  if [ -z "$(ls -A "$cache")" ]; then echo "nothing in s3://$WHEELS_BUCKET/hf_cache/: the image has no model cache"; fi
}

# The parent may itself be a worker's image: until all is done, the marker must not say that it is.
rm -f "$IMAGE_MARKER"
for step in install_packages fetch_wheels install_wheels warm_cache write_marker; do
  echo "ami_install: $step"
  "$step"
done
