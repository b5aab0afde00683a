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

# The parent may itself be a worker's image: until all is done, the marker must not say that it is.
rm -f "$IMAGE_MARKER"
for step in install_packages fetch_wheels install_wheels warm_cache write_marker; do
  echo "ami_install: $step"
  "$step"
done
