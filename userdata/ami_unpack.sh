#!/bin/bash
# The first step of a bake: the Pulumi program puts the files of the later steps in place of the line that says so.
set -euo pipefail
umask 022
BAKE_DIR="${ROOT:-}/opt/receipt-trainer/bake"
rm -rf "$BAKE_DIR"
mkdir -p "$BAKE_DIR"
put() { cat >"$BAKE_DIR/$1"; }
# FILES
