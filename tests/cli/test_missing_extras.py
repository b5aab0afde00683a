"""Commands without the extra that they need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from receipt_trainer.cli.lazy import EXTRAS

COMMANDS = {
    "layoutlm train --dataset receipts.jsonl": "train",
    "layoutlm label-counts --dataset receipts.jsonl": "train",
    "receipt_trainer receipts generate -o new.jsonl": "synthetic",
    "receipt_trainer vl generate --output-dir new": "synthetic",
    "receipt_trainer vl validate-dataset --input receipts.jsonl": "vl",
    "receipt_trainer local up": "local",
    "receipt_trainer read receipts.jsonl --model RUN": "read",
    "receipt_trainer serve --model RUN": "serve",
}
"""Commands with the extra that each needs first."""
BASE_INSTALL = f"""
import sys
for name in {[name for names in EXTRAS.values() for name in names.split() if name != "google"]}:
    sys.modules[name] = None
from receipt_trainer.cli import layoutlm, lazy, receipt_trainer
for words in {[*COMMANDS]}:
    program, *arguments = words.split()
    try:
        lazy.run({{"layoutlm": layoutlm, "receipt_trainer": receipt_trainer}}[program].group, arguments)
    except SystemExit as end:
        print(end.code, file=sys.stderr)
"""
"""Commands where no extra is installed."""


def test_pillow_alone_is_named_with_the_extra_for_reading(tmp_path: Path) -> None:
    """Where all of reading but Pillow is there, `receipts ocr` names [read]; several extras bring Pillow."""
    (tmp_path / "photo.jpg").touch()
    program = "import sys; sys.modules['PIL'] = None; from receipt_trainer.cli.receipt_trainer import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "receipts", "ocr", "photo.jpg", "-o", "words.jsonl"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "error: PIL is not installed: pip install './trainer[read]'\n",
    )


def test_a_missing_extra_is_one_line(tmp_path: Path) -> None:
    """The one line says what to install, the exit code is 2, and nothing is left behind."""
    (tmp_path / "receipts.jsonl").touch()
    done = subprocess.run([sys.executable, "-c", BASE_INSTALL], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert said[1::2] == ["2"] * len(COMMANDS), done.stderr
    for line, extra in zip(said[::2], COMMANDS.values(), strict=True):
        assert line.startswith("error: ")
        assert line.endswith(f": pip install './trainer[{extra}]'")
    assert [path.name for path in tmp_path.iterdir()] == ["receipts.jsonl"]
