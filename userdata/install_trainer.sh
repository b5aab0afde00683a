#!/bin/bash
# Installs the trainer from the wheelhouse in S3: at the bake of the Golden AMI, and at boot on another image.
# Needs WHEELS_BUCKET, WHEELHOUSE_PREFIX, WHEELHOUSE_HASH, AWS_REGION; ROOT stands before every path.
# Sourced for its functions, or run: install_trainer.sh packages|wheels|install|marker|all
set -euo pipefail
ROOT="${ROOT:-}"
export AWS_REGION
WHEELS_DIR="$ROOT/opt/wheels"
TRAINER_PYTHON="$ROOT/opt/pytorch/bin/python"
IMAGE_MARKER="$ROOT/opt/receipt-trainer/image.json"
TRAINER_IMPORTS="import receipt_trainer.worker.main, receipt_trainer.models.layoutlm.family, receipt_trainer.models.paddleocr_vl.family"

# retry SECONDS COMMAND...: waits 1, 2, 4 ... 30 s, each with jitter, between tries until SECONDS have passed.
retry() {
  local deadline=$((SECONDS + $1)) pause="${RETRY_FIRST_S:-1}" code=0
  shift
  while :; do
    code=0
    "$@" || code=$?
    [ "$code" -ne 0 ] || return 0
    if ((SECONDS >= deadline)); then
      echo "gave up: $*" >&2
      return "$code"
    fi
    sleep "$((pause + RANDOM % (pause + 1)))"
    pause=$((pause * 2 > 30 ? 30 : pause * 2))
  done
}

# While a stack is made, an instance may be there before its way to AWS is.
patiently() { retry "${INSTALL_DEADLINE_S:-300}" "$@"; }

install_packages() {
  local missing=()
  [ -e "$ROOT/sbin/mount.efs" ] || missing+=(amazon-efs-utils)
  [ -e "$ROOT/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl" ] || missing+=(amazon-cloudwatch-agent)
  [ -e "$ROOT/usr/bin/aws" ] || missing+=(awscli-2)
  [ -e "$ROOT/usr/sbin/logrotate" ] || missing+=(logrotate)
  # From the one repository that the S3 endpoint leads to: the parent may have others, out on the internet.
  if ((${#missing[@]})); then patiently dnf -y -q --repo amazonlinux install "${missing[@]}"; fi
  "$ROOT/usr/bin/aws" --version
}

# from_manifest objects|wheels: what there is of it for this Python, as sha256sum's lines. Fails on another hash, and
# on a Python that the wheelhouse is not for.
from_manifest() {
  "$ROOT/usr/bin/python3" -I -c '
import json, sys
path, wanted, python, what = sys.argv[1:]
with open(path) as file:
    manifest = json.load(file)
if manifest["hash"] != wanted:
    sys.exit("the wheelhouse has the hash " + manifest["hash"] + ", not " + wanted)
if python not in manifest["pythons"]:
    sys.exit("the image has Python " + python + ", the wheelhouse is for " + " and ".join(manifest["pythons"])
             + ": set receipt-trainer:wheelhouse.python_versions")
for part in manifest[what]:
    if python in part["pythons"]:
        print(part["sha256"] + "  " + part.get("key", part.get("file")))' \
    "$WHEELS_DIR/manifest.json" "$WHEELHOUSE_HASH" "$(python_version)" "$1"
}

python_version() { "$TRAINER_PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# fetch_file S3-FOLDER FILE: by a listing, for a role that may not list all of a bucket cannot tell a missing object
# from a forbidden one. So only what may pass is tried again.
fetch_file() {
  patiently "$ROOT/usr/bin/aws" s3 cp --recursive --only-show-errors --exclude '*' --include "$2" "$1/" "$WHEELS_DIR/"
  if [ ! -e "$WHEELS_DIR/$2" ]; then
    echo "no wheelhouse in $1/: $2 is missing" >&2
    return 1
  fi
}

# The disk holds one archive at most beside the wheels.
fetch_wheels() {
  local objects sha256 key file
  rm -rf "$WHEELS_DIR"
  mkdir -p "$WHEELS_DIR"
  fetch_file "s3://$WHEELS_BUCKET/$WHEELHOUSE_PREFIX" manifest.json
  objects="$(from_manifest objects)"
  while read -r sha256 key; do
    file="${key##*/}"
    fetch_file "s3://$WHEELS_BUCKET/${WHEELHOUSE_PREFIX%/*}/${key%/*}" "$file"
    (cd "$WHEELS_DIR" && sha256sum --check --strict --quiet <<<"$sha256  $file")
    case "$file" in
      *.tar)
        "$ROOT/usr/bin/python3" -I -m tarfile -e "$WHEELS_DIR/$file" "$WHEELS_DIR"
        rm "$WHEELS_DIR/$file"
        ;;
    esac
  done <<<"$objects"
  check_wheels
  chown -R 1000:1000 "$WHEELS_DIR"
  chmod -R u=rwX,go=rX "$WHEELS_DIR"
}

# The folder holds the manifest, the wheels that it names for this Python, with their sha256, and nothing else.
check_wheels() {
  local listed there strange
  listed="$(from_manifest wheels)"
  (cd "$WHEELS_DIR" && sha256sum --check --strict --quiet <<<"$listed")
  there="$(find "$WHEELS_DIR" -mindepth 1 ! -name manifest.json -printf '%P\n')"
  strange="$(comm -13 <(cut -d ' ' -f 3 <<<"$listed" | sort) <(sort <<<"$there"))"
  if [ -n "$strange" ]; then
    echo "in $WHEELS_DIR, but not in its manifest: $strange" >&2
    return 1
  fi
}

# Exactly the wheels that were worked out when the wheelhouse was built: pip's own look at what the image holds would
# refuse for packages that are none of ours.
install_wheels() {
  local pip=("$TRAINER_PYTHON" -m pip install --no-index --no-deps --no-warn-conflicts --disable-pip-version-check -q)
  "${pip[@]}" "$WHEELS_DIR"/*.whl
  # An image may hold another build of the same version, which pip would take for the same.
  "${pip[@]}" --force-reinstall "$WHEELS_DIR"/receipt_trainer-*.whl
  "$TRAINER_PYTHON" -c "$TRAINER_IMPORTS"
}

# Without internet no model can be fetched from its hub: whoever wants one puts a cache under hf_cache/ in the bucket.
warm_cache() {
  local cache="$ROOT/opt/hf_cache"
  mkdir -p "$cache"
  patiently "$ROOT/usr/bin/aws" s3 sync --only-show-errors "s3://$WHEELS_BUCKET/hf_cache/" "$cache/"
  chown -R 1000:1000 "$cache"
  chmod -R u=rwX,go=rX "$cache"
  if [ -z "$(ls -A "$cache")" ]; then echo "nothing in s3://$WHEELS_BUCKET/hf_cache/: no model cache"; fi
}

write_marker() {
  mkdir -p "${IMAGE_MARKER%/*}"
  "$ROOT/usr/bin/python3" -I -c 'import json, sys; print(json.dumps(dict(wheelhouse=sys.argv[1], python=sys.argv[2])))' \
    "$WHEELHOUSE_HASH" "$(python_version)" >"$IMAGE_MARKER.new"
  chmod 644 "$IMAGE_MARKER.new"
  mv "$IMAGE_MARKER.new" "$IMAGE_MARKER"
}

marker_hash() {
  [ -e "$IMAGE_MARKER" ] || return 0
  "$ROOT/usr/bin/python3" -I -c 'import json, sys; print(json.load(open(sys.argv[1]))["wheelhouse"])' "$IMAGE_MARKER"
}

install_main() {
  case "${1:-}" in
    packages) install_packages ;;
    wheels) fetch_wheels ;;
    install) install_wheels ;;
    marker) write_marker ;;
    all)
      install_packages
      fetch_wheels
      install_wheels
      ;;
    *)
      echo "install_trainer.sh packages|wheels|install|marker|all" >&2
      return 2
      ;;
  esac
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then install_main "$@"; fi
