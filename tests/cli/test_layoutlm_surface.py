"""What `layoutlm-cli` says of itself, and what it says of mistakes."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

import receipt_trainer
from tests.cli.conftest import Trained
from tests.cli.jobs import Caller
from tests.cli.test_surface import LAYOUTLM


def test_the_installed_program(tmp_path: Path) -> None:
    """The console script lists all commands, and says which version it is, and of which installation."""
    program = Path(sys.executable).with_name("layoutlm-cli")
    said = [
        subprocess.run([program, flag], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for flag in ("--help", "--version")
    ]
    assert all(name in said[0] for name in LAYOUTLM)
    assert said[1] == f"layoutlm-cli {receipt_trainer.__version__} ({Path(receipt_trainer.__file__).parent})\n"


BARE = '{"id": "a", "width": 9, "height": 9, "words": [{"text": "x", "box": [1, 1, 2, 2], "line": 0}]}\n'
HURT = gzip.compress(BARE.encode(), mtime=0)[:12] + b"\xff" * 40
JOB = "job_name: a\ntraining_config:\n  num_epochs: 1\n  epoch: 2\n"
TRAIN = ["train", "--job-name", "m", "--output-dir", "out", "--model", "tiny"]
CHECK = ["spot-check", "--model", "RUN", "--dataset", "RECEIPTS"]
MISTAKES = {
    "missing input": (["predict", "--model", "RUN", "--input", "no.jsonl"], ["no.jsonl", "No such file"]),
    "damaged data": (["evaluate", "--model", "RUN", "--dataset", "hurt.jsonl.gz"], ["hurt.jsonl.gz", "cannot be read"]),
    "damaged input": (["predict", "--model", "RUN", "--input", "hurt.jsonl.gz", "--output", "o"], ["hurt.jsonl.gz"]),
    "no labels": (["evaluate", "--model", "RUN", "--dataset", "bare.jsonl"], ["bare.jsonl", "VALID label"]),
    "other split": (
        ["evaluate", "--model", "RUN", "--dataset", "RECEIPTS", "--split-file", "job.yaml"],
        ["job.yaml", "none of the"],
    ),
    "folder as output": (
        ["evaluate", "--model", "RUN", "--dataset", "RECEIPTS", "--output", "folder"],
        ["folder", "cannot be written"],
    ),
    "unknown receipt": ([*CHECK, "--receipt", "nobody"], ["nobody", "RECEIPTS"]),
    "unknown label": (
        [*TRAIN, "--dataset", "RECEIPTS", "--allowed-label", "AMOUNT"],
        ["AMOUNT", "--merge-amounts", "GRAND_TOTAL"],
    ),
}


@pytest.mark.parametrize(("arguments", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line(
    arguments: list[str], said: list[str], trained: Trained, layoutlm: Caller, tmp_path: Path
) -> None:
    """A mistake ends with exit code 2 and one line that names it, and leaves no file behind."""
    (tmp_path / "bare.jsonl").write_text(BARE)
    (tmp_path / "hurt.jsonl.gz").write_bytes(HURT)
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    places = {"RUN": str(trained.run_dir), "RECEIPTS": str(trained.receipts)}
    said_of_it = layoutlm(*(places.get(argument, argument) for argument in arguments))
    assert said_of_it.code == 2, said_of_it.err
    assert said_of_it.err.startswith("error: ")
    assert said_of_it.err.count("\n") == 1
    assert all(places.get(words, words) in said_of_it.err for words in said), said_of_it.err
    assert said_of_it.out == ""
    assert sorted(tmp_path.rglob("*")) == before
