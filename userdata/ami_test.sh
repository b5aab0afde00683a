#!/bin/bash
# On an instance of the finished image: what a worker needs is there without any network, for the worker's user.
set -euo pipefail
ROOT="${ROOT:-}"
BAKE_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=userdata/install_trainer.sh
. "$BAKE_DIR/install_trainer.sh"
bash "$BAKE_DIR/ami_verify.sh"

cd /
offline() {
  unshare --net runuser -u ec2-user -- env HOME=/tmp HF_HUB_OFFLINE=1 "$ROOT/opt/pytorch/bin/python" -B "$@"
}
echo "ami_test: the trainer runs without a network"
offline -c "$TRAINER_IMPORTS"
echo "ami_test: what is installed are these wheels"
offline -c '
import importlib.metadata, pathlib, sys
for wheel in sorted(pathlib.Path(sys.argv[1]).glob("*.whl")):
    name, version = wheel.name.split("-")[:2]
    found = importlib.metadata.version(name)
    if found != version:
        sys.exit("ami_test: failed: " + name + " is installed in version " + found + ", the wheel is of " + version)
' "$WHEELS_DIR"
