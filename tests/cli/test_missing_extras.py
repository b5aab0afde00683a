"""Commands without the extra that they need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from receipt_trainer.cli.lazy import EXTRAS

BASE_INSTALL = f"""
import sys
for name in {[name for names in EXTRAS.values() for name in names.split() if name != "google"]}:
    sys.modules[name] = None
from receipt_trainer.cli.{{program}} import main
sys.argv = ["command", *{{arguments!r}}]
main()
"""
"""A command where no extra is installed."""


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("layoutlm train --dataset receipts.jsonl", "train"),
        ("layoutlm label-counts --dataset receipts.jsonl", "train"),
        ("receipt_trainer receipts generate -o new.jsonl", "synthetic"),
        ("receipt_trainer vl generate --output-dir new", "synthetic"),
        ("receipt_trainer vl validate-dataset --input receipts.jsonl", "vl"),
        ("receipt_trainer local up", "local"),
        ("receipt_trainer read receipts.jsonl --model RUN", "read"),
    ],
)
def test_a_missing_extra_is_one_line(command: str, extra: str, tmp_path: Path) -> None:
    """The one line says what to install, the exit code is 2, and nothing is left behind."""
    (tmp_path / "receipts.jsonl").touch()
    program, *arguments = command.split()
    text = BASE_INSTALL.format(program=program, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(f": pip install 'receipt-trainer[{extra}]'")
    assert [path.name for path in tmp_path.iterdir()] == ["receipts.jsonl"]


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "label-counts", "spot-check", "report", "read"])
def test_help_needs_no_extra(command: str, tmp_path: Path) -> None:
    """What a command does and takes is said before anything is installed for it."""
    program = "receipt_trainer" if command == "read" else "layoutlm"
    text = BASE_INSTALL.format(program=program, arguments=[command, "--help"])
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")
