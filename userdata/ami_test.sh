#!/bin/bash
# On an instance of the finished image: what a worker needs is there without any network, for the worker's user.
set -euo pipefail
ROOT="${ROOT:-}"
BAKE_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
bash "$BAKE_DIR/ami_verify.sh"

cd /
offline() {
  unshare --net runuser -u ec2-user -- env HOME=/tmp HF_HUB_OFFLINE=1 "$ROOT/opt/pytorch/bin/python" -B "$@"
}
echo "ami_test: the trainer runs without a network"
offline -c 'import receipt_trainer.train.run, receipt_trainer.report.build, receipt_trainer.vl.train'
echo "ami_test: nothing is left to install"
offline -m pip install --quiet --disable-pip-version-check --no-index --find-links "$ROOT/opt/wheels" \
  --dry-run 'receipt-trainer[train,report,vl]'
