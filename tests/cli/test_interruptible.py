from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys
from receipt_trainer.cli.{program} import main

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os.kill(os.getpid(), signal.{number})

sys.meta_path.insert(0, Finder())
sys.argv = ["command", *{arguments!r}]
main()
"""
"""A command that gets a signal as it begins to import PyTorch."""


@pytest.mark.parametrize(
    ("program", "number", "code"), [("layoutlm", "SIGINT", 130), ("receipt_trainer", "SIGTERM", 143)]
)
def test_a_signal_during_the_imports_ends_a_training_as_later(
    tmp_path: Path, program: str, number: str, code: int
) -> None:
    """Before PyTorch is there, the exit code is that of the signal, too, with one line."""
    config = tmp_path / "config.yaml"
    config.write_text("family: paddleocr-vl\njob_name: x\nmodel: model\ndata_config: {dataset_path: data}\n")
    arguments = {
        "layoutlm": ["train", "--model", "tiny", "--dataset", str(tmp_path), "--output-dir", str(tmp_path / "run")],
        "receipt_trainer": ["vl", "train", "--config", str(config), "--output-dir", str(tmp_path / "run")],
    }
    text = PROGRAM.format(program=program, number=number, arguments=arguments[program])
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "the same command resumes" in done.stderr
