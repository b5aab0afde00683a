#!/usr/bin/env bash
# Everything that is measured on a GPU, one after the other, unattended, in at most eight minutes:
#     benchmarks/gpu.sh FOLDER [cuda|cpu]
# FOLDER receives gpu.json, with the figures of all parts and how each ended, and a log of each. Receipts are generated
# and weights random: nothing is loaded. With `cpu` the same at a small size, which shows that the script runs, not how
# fast anything is. Where transformers is not installed, bring its wheels and those it needs but PyTorch in a folder,
# WHEELS=FOLDER: they are unpacked beside the results, and nothing is fetched.
set -uo pipefail

out="${1:?usage: benchmarks/gpu.sh FOLDER [cuda|cpu]}"
device="${2:-cuda}"
python="${PYTHON:-python3}"
mkdir -p "$out"
out="$(cd "$out" && pwd)"
wheels="${WHEELS:+$(cd "$WHEELS" && pwd)}"
cd "$(dirname "$0")/.." || exit 1
export PYTHONPATH="$PWD:$PWD/trainer/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
if [[ -n "$wheels" ]]; then
  "$python" -m pip install --quiet --no-index --no-deps --target "$out/packages" "$wheels"/*.whl || exit 1
  export PYTHONPATH="$out/packages:$PYTHONPATH"
fi

ends=()
run() { # name, limit in seconds, module, arguments
  local name="$1" limit="$2" module="$3" code
  shift 3
  echo "== $name"
  timeout "$limit" "$python" -m "benchmarks.$module" --device "$device" --json "$out/$name.json" "$@" 2>&1 | tee "$out/$name.txt"
  code="${PIPESTATUS[0]}"
  ends+=("$name=$code")
}
rm -f "$out"/*.json
if [[ "$device" == cuda ]]; then
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$out/card.txt"
  run attention 250 attention --seconds 200
  run training 110 throughput --model random:minilm --rounds 1 --steps 40 --ways grouped ours --batch-tokens 1024 16384 65536
  run documents 100 vl_train --shape real --batch-size 1 8 --steps 5
else
  run attention 3600 attention --shapes small --tokens 256
  run training 3600 throughput --model random:small --rounds 1 --steps 2 --ways grouped ours --batch-tokens 256
  run documents 3600 vl_train --shape small --batch-size 1 --steps 1 --image-side 56 --answer-tokens 8
fi

"$python" - "$out" "${ends[@]}" <<'END'
import json, sys
from pathlib import Path

out, found = Path(sys.argv[1]), {}
for name, _, code in (end.partition("=") for end in sys.argv[2:]):
    part = out / f"{name}.json"
    found[name] = {"exit_code": int(code), "figures": json.loads(part.read_bytes()) if part.exists() else None}
    part.unlink(missing_ok=True)
(out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
sys.exit(any(part["exit_code"] for part in found.values()))
END
