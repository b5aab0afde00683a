#!/bin/bash
# Fails, with what is wrong, unless the machine it runs on is a worker's image.
set -euo pipefail
ROOT="${ROOT:-}"
BAKE_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=/dev/null
. "$BAKE_DIR/bake.env"
# shellcheck source=/dev/null
. "$BAKE_DIR/wheelhouse.env"
# shellcheck source=userdata/install_trainer.sh
. "$BAKE_DIR/install_trainer.sh"

check() {
  echo "ami_verify: $1"
  shift
  "$@" || {
    echo "ami_verify: failed: $*" >&2
    exit 1
  }
}
says_help() { "$ROOT/opt/pytorch/bin/$1" --help >/dev/null; }
has_marker() { [ "$(marker_hash)" = "$WHEELHOUSE_HASH" ]; }
# A folder in which every entry belongs to ec2-user, who may write to it.
is_owned() {
  local owner others
  owner="$(id -u ec2-user)" &&
    others="$(find "$1" '(' ! -uid "$owner" -o ! -perm -u=w ')' -print -quit)" &&
    [ -z "$others" ]
}
# A function that is called for its exit code goes on after a failure inside it; a shell of its own does not.
has_wheels() { bash -c 'set -euo pipefail; . "$1/install_trainer.sh"; check_wheels' bash "$BAKE_DIR"; }

check "the system AWS CLI" "$ROOT/usr/bin/aws" --version
check "the EFS mount helper" test -x "$ROOT/sbin/mount.efs"
check "the CloudWatch agent" test -e "$ROOT/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
check "logrotate" test -x "$ROOT/usr/sbin/logrotate"
check "torch" "$TRAINER_PYTHON" -c 'import torch; print(torch.__version__)'
check "layoutlm-cli" says_help layoutlm-cli
check "receipt-trainer" says_help receipt-trainer
check "the wheels belong to ec2-user" is_owned "$WHEELS_DIR"
check "the wheels are those of the manifest" has_wheels
check "the model cache belongs to ec2-user" is_owned "$ROOT/opt/hf_cache"
check "the marker names this wheelhouse" has_marker
