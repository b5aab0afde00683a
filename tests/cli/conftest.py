"""A small trained model, once a session, and a caller of `receipt-trainer`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.cli import layoutlm as layoutlm_cli
from receipt_trainer.cli.lazy import run
from receipt_trainer.contract.run_record import LayoutLMRecord, load_record
from receipt_trainer.contract.tables import INSTANCES
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate
from tests.cli.jobs import Caller


class Trained(NamedTuple):
    """A run, the receipts it was made of, and the same with two receipts that the model cannot know."""

    run_dir: Path
    receipts: Path
    more_receipts: Path

    @property
    def record(self) -> LayoutLMRecord:
        """Its run.json."""
        return load_record(self.run_dir / "run.json")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A tiny model after some steps on synthetic receipts."""
    folder = tmp_path_factory.mktemp("trained")
    lines = [to_line(receipt) for receipt in generate(32, 1)]
    receipts = folder / "receipts.jsonl"
    receipts.write_text("".join(lines), encoding="utf-8")
    word = {"text": "VIP", "box": [1, 1, 9, 9], "line": 0}
    page = {"source": "mine", "width": 10, "height": 10}
    extra = [
        page | {"id": "loyal", "words": [word | {"label": "LOYALTY"}, word | {"label": "TOTAL"}, word]},
        page | {"id": "bare", "words": [word]},
        page | {"id": "empty", "words": []},
    ]
    more = folder / "more.jsonl"
    more.write_text("".join(lines) + "".join(json.dumps(record) + "\n" for record in extra), encoding="utf-8")
    words = ("train", "--job-name", "small", "--output-dir", folder / "run", "--model", "tiny", "--dataset", receipts)
    words += ("--merge-amounts", "--precision", "fp32", "--lr", "3e-3", "--set", "max_steps=40", "--no-progress")
    words += ("--set", "validation_fraction=0.3", "--set", "batch_size=32")
    with pytest.raises(SystemExit, match="0"):
        run(layoutlm_cli.group, list(map(str, words)))
    return Trained(folder / "run", receipts, more)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caller:
    """Calls `receipt-trainer` in this process, on a wide screen."""
    monkeypatch.setenv("COLUMNS", "200")
    return Caller(capsys)


@pytest.fixture
def layoutlm(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Caller:
    """Calls `layoutlm-cli` in this process, in an empty folder, with nothing of the developer's own stack."""
    monkeypatch.chdir(tmp_path)
    for name in ("DYNAMO_TABLE_NAME", "JOBS_TABLE_NAME", "ARTIFACTS_BUCKET", "LAYOUTLM_O_TO_ENTITY_RATIO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return Caller(capfd, layoutlm_cli.group)


@pytest.fixture
def instances_table(aws: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty instances table, also in INSTANCE_REGISTRY_TABLE_NAME."""
    client, name = clients.dynamodb(), "instances-of-test-jobs-instances"
    client.create_table(**INSTANCES.create_arguments(name))
    monkeypatch.setenv("INSTANCE_REGISTRY_TABLE_NAME", name)
    yield name
    client.delete_table(TableName=name)
