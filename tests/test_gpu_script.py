"""The script that measures a GPU runs where there is none, at a small size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(1200)
def test_everything_is_in_one_file(tmp_path: Path) -> None:
    """All three programs end well, and gpu.json has the speed of each way: attention over buckets and padded, training
    with packed batches by tokens and transformers' own, and documents."""
    script = ["bash", ROOT / "benchmarks" / "gpu.sh", tmp_path, "cpu"]
    values = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(script, env=values, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_bytes())
    assert {name: part["exit_code"] for name, part in found.items()} == dict.fromkeys(found, 0)
    steps = found["attention"]["figures"]
    assert steps["product_tflops"] > 0
    rows = [row for row in steps["rows"] if "ms" in row]
    assert {(row["kind"], row["way"]) for row in rows} == {
        (kind, way) for kind in ("line", "receipt") for way in ("buckets", "padded")
    }
    assert all(row["tokens_a_second"] > 0 and row["share"] > 0 for row in rows)
    for speeds in found["training"]["figures"].values():
        assert {name.split()[0] for name in speeds} == {"grouped", "ours"}
        assert any("256 tokens" in name for name in speeds)
        assert all(speed["tokens"] > 0 for rounds in speeds.values() for speed in rounds)
    assert [row["checkpointing"] for row in found["documents"]["figures"]] == [True, False]
    assert all(row["seconds"] > 0 for row in found["documents"]["figures"])
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["gpu.json"]
