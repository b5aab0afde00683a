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

install_packages() {
  local missing=()
  [ -e "$ROOT/sbin/mount.efs" ] || missing+=(amazon-efs-utils)
  [ -e "$ROOT/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl" ] || missing+=(amazon-cloudwatch-agent)
  [ -e "$ROOT/usr/bin/aws" ] || missing+=(awscli-2)
  [ -e "$ROOT/usr/sbin/logrotate" ] || missing+=(logrotate)
  # From the one repository that the S3 endpoint leads to: the parent may have others, out on the internet.
  if ((${#missing[@]})); then dnf -y -q --repo amazonlinux install "${missing[@]}"; fi
  "$ROOT/usr/bin/aws" --version
}

# manifest.json's files as sha256sum's lines; fails on another hash or Python, and on a file that it does not name.
manifest_sums() {
  "$ROOT/usr/bin/python3" -I -c '
import json, os, sys
folder, wanted, python = sys.argv[1:]
with open(os.path.join(folder, "manifest.json")) as file:
    manifest = json.load(file)
if manifest["hash"] != wanted:
    sys.exit("the wheelhouse has the hash " + manifest["hash"] + ", not " + wanted)
if manifest["python"] != python:
    sys.exit("the wheelhouse is for Python " + manifest["python"] + ", the image has " + python)
sums = {wheel["file"]: wheel["sha256"] for wheel in manifest["wheels"]}
strange = set(os.listdir(folder)) - {"manifest.json"} ^ set(sums)
if strange:
    sys.exit("not both in the wheelhouse and in its manifest: " + ", ".join(sorted(strange)))
for name, sha256 in sums.items():
    print(f"{sha256}  {name}")' "$WHEELS_DIR" "$WHEELHOUSE_HASH" "$(python_version)"
}

python_version() { "$TRAINER_PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

fetch_wheels() {
  rm -rf "$WHEELS_DIR"
  mkdir -p "$WHEELS_DIR"
  "$ROOT/usr/bin/aws" s3 cp --recursive --only-show-errors "s3://$WHEELS_BUCKET/$WHEELHOUSE_PREFIX/" "$WHEELS_DIR/"
  if [ ! -e "$WHEELS_DIR/manifest.json" ]; then
    echo "no wheelhouse in s3://$WHEELS_BUCKET/$WHEELHOUSE_PREFIX/" >&2
    return 1
  fi
  local sums
  sums="$(manifest_sums)"
  (cd "$WHEELS_DIR" && sha256sum --check --strict --quiet <<<"$sums")
  chown -R 1000:1000 "$WHEELS_DIR"
  chmod -R u=rwX,go=rX "$WHEELS_DIR"
}

install_wheels() {
  local pip=("$TRAINER_PYTHON" -m pip install --no-index --find-links "$WHEELS_DIR" --disable-pip-version-check -q)
  "${pip[@]}" "receipt-trainer[train,report,vl]"
  # An image may hold another build of the same version, which pip would take for the same.
  "${pip[@]}" --force-reinstall --no-deps receipt-trainer
  "$TRAINER_PYTHON" -c 'import receipt_trainer'
}

# Without internet no model can be fetched from its hub: whoever wants one puts a cache under hf_cache/ in the bucket.
warm_cache() {
  local cache="$ROOT/opt/hf_cache"
  mkdir -p "$cache"
  "$ROOT/usr/bin/aws" s3 sync --only-show-errors "s3://$WHEELS_BUCKET/hf_cache/" "$cache/"
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
