"""A queue, a table and training processes for workers in tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.strikes import expect
from tests.training.runs import write_receipts
from tests.worker.bench import Bench

HELD_AT = 13
"""The first of the two losses of step 7, in the middle of the first epoch."""


@pytest.fixture(scope="session")
def receipts_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine synthetic receipts as JSON lines."""
    path = tmp_path_factory.mktemp("receipts") / "receipts.jsonl"
    write_receipts(path, 12)
    return path


@pytest.fixture
def make_bench(
    jobs_table: str, queue_url: str, receipts_file: Path, tmp_path: Path, training_command: tuple[str, ...]
) -> Callable[..., Bench]:
    """Jobs table, FIFO queue and checkpoints folder of a test."""
    return lambda: Bench(queue_url, jobs_table, receipts_file, tmp_path, training_command)


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Training processes wait at loss `HELD_AT` until they are asked to stop; the file says that one does."""
    path = tmp_path / "held"
    expect(monkeypatch, "hold", HELD_AT, file=path)
    return path
