#!/bin/bash
# Run once, as root, by cloud-init. The Pulumi program puts the files in place of the line that says so.
set -euo pipefail
umask 077
ROOT="${ROOT:-}"
# Not on the disk: a full one must not keep an instance from saying why it fails. TMPDIR: bash's here-documents.
BOOT_DIR="$ROOT/run/receipt-trainer"
mkdir -p "$BOOT_DIR"
TMPDIR="$BOOT_DIR"
trap 'shutdown -h now' EXIT

put() { cat >"$BOOT_DIR/$1"; }

put_packed() {
  "$ROOT/usr/bin/python3" -I -c '
import base64, bz2, json, pathlib, sys
for name, text in json.loads(bz2.decompress(base64.b64decode(sys.stdin.read()))).items():
    pathlib.Path(sys.argv[1], name).write_text(text, encoding="utf-8")' "$BOOT_DIR"
}

# FILES
# shellcheck source=/dev/null
. "$BOOT_DIR/boot.env"
export ROOT
# To the whole process group, so that whatever hangs ends, too; worker_boot.sh then says what it was.
timeout --signal=USR1 --kill-after=600 "$BOOT_DEADLINE_S" bash "$BOOT_DIR/worker_boot.sh"
trap - EXIT
