"""Commands on a disk that is really full: one line, exit code 1, nothing half-written; with room the same goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.cli import layoutlm as layoutlm_cli
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate
from receipt_trainer.inference.document_reader import DocumentReader
from receipt_trainer.models.layoutlm import family
from tests.cli.conftest import Trained
from tests.cli.jobs import Caller, Said
from tests.inference.told import ToldModel, record
from tests.training.runs import record_of, train_command


class Disk:
    """A file system of a few megabytes, in memory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fill(self, left: int = 0) -> None:
        """Leave so many bytes of it, in whole pages of 4 KiB."""
        with (self.root / "filler").open("ab") as filler:
            filler.write(bytes(max(0, shutil.disk_usage(self.root).free - left)))

    def make_room(self) -> None:
        (self.root / "filler").unlink()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir() if path.name != "filler")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """It is mounted for one test, which only root may."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk of a few megabytes")
    root = tmp_path / "disk"
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(root)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    unmount = ["umount", "--lazy", str(root)]
    try:
        yield Disk(root)
    finally:
        subprocess.run(unmount, check=True)


def is_told(said: Said, path: Path) -> None:
    """One line that names the path, and exit code 1."""
    assert said.code == 1, said.err
    line = rf"error: {re.escape(str(path))}: disk full; free \d+ MB and run the same command"
    assert re.fullmatch(line, said.err.strip().splitlines()[-1]), said.err
    assert "Traceback" not in said.err


def test_training_ends_on_a_full_disk(disk: Disk, layoutlm: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full at the predictions, the model or the report: what is there is whole, and nothing is trained again."""
    receipts, run_dir = disk.root.parent / "receipts.jsonl", disk.root / "run"
    receipts.write_text("".join(map(to_line, generate(12, 1))), encoding="utf-8")
    command = train_command(receipts, run_dir, max_steps=1)
    for name in ("write_predictions", "save_model", "write_report"):
        with monkeypatch.context() as patch:
            real = getattr(family, name)

            def on_full_disk(*arguments: Any, real: Any = real, **named: Any) -> Any:
                disk.fill()
                return real(*arguments, **named)

            patch.setattr(family, name, on_full_disk)
            is_told(layoutlm(*command), run_dir)
        assert not [path.name for path in run_dir.rglob("*") if "tmp" in path.name or ".receipt-trainer-" in path.name]
        assert record_of(run_dir).status != "complete"
        disk.make_room()
    done = layoutlm.succeed(*command)
    assert "resuming from step 1" in done.out
    found = record_of(run_dir)
    assert (found.status, found.timings["steps"]) == ("complete", 1)
    assert {"model", "predictions.jsonl", "report.html"} <= {path.name for path in run_dir.iterdir()}


def test_read_goes_on_after_a_full_disk(disk: Disk, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that had room stay, each whole; the next call reads the others alone."""
    monkeypatch.setattr(DocumentReader, "open", lambda place, **options: DocumentReader(ToldModel(), **options))  # type: ignore[arg-type]
    receipts, answers = disk.root.parent / "in.jsonl", disk.root / "answers.jsonl"
    names = [f"r{n}" for n in range(12)]
    receipts.write_text("".join(json.dumps(record(name, "N:Big N:Shop", "TOTAL G:7.00")) + "\n" for name in names))
    command = ("read", receipts, "--model", "RUN", "--output", answers)
    disk.fill(8192)
    is_told(call(*command), answers)
    there = [json.loads(line)["id"] for line in answers.read_text().splitlines()]
    assert there == names[: len(there)]
    assert 0 < len(there) < len(names)
    disk.make_room()
    done = call.succeed(*command)
    assert f"{len(names) - len(there)} documents read" in done.err
    assert [json.loads(line)["id"] for line in answers.read_text().splitlines()] == names


def test_files_that_are_whole_or_not_there(
    disk: Disk, trained: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`predict --output`, `read --csv --output` and the page of `receipts check`."""
    call, layoutlm = Caller(capsys), Caller(capsys, layoutlm_cli.group)
    monkeypatch.setattr(DocumentReader, "open", lambda place, **options: DocumentReader(ToldModel(), **options))  # type: ignore[arg-type]
    told = disk.root.parent / "told.jsonl"
    told.write_text("".join(json.dumps(record(f"r{n}", "N:Big N:Shop", "TOTAL G:7.00")) + "\n" for n in range(200)))
    words, table, page = (disk.root / name for name in ("words.jsonl", "answers.csv", "check.html"))
    disk.fill(4096)
    is_told(layoutlm("predict", "--model", trained.run_dir, "--input", trained.receipts, "--output", words), words)
    is_told(call("read", told, "--model", "RUN", "--csv", "--output", table), table)
    is_told(call("receipts", "check", trained.receipts, "--html", page), page)
    assert disk.names() == []
