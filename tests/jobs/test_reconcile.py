"""Metrics that a vanished worker took with it are written by the attempt that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract.sinks import Sealed
from receipt_trainer.jobs.curves import read_curves
from receipt_trainer.jobs.metrics_writer import NAMES, JobStore
from tests.fault_proxy import FaultProxy, throttle

HISTORY: list[dict[str, Any]] = [
    *({"step": step, "epoch": step / 3, "loss": 1.0 / step, "learning_rate": 1e-3} for step in (1, 2, 3)),
    {"step": 3, "epoch": 1.0, "eval_f1": 0.5, "eval_runtime": 0.1},
]


def _store(table: str, attempt: int, **more: Any) -> JobStore:
    return JobStore(
        Table(clients.dynamodb(), table), "j", attempt=attempt, interval_s=60, sleep=lambda seconds: None, **more
    )


def _points(table: str) -> dict[str, list[tuple[int, float]]]:
    found = read_curves(Table(clients.dynamodb(), table), "j")
    return {name: [(point.step, point.value) for point in points] for name, points in found.items()}


def test_what_an_earlier_attempt_could_not_write_is_written(jobs_table: str) -> None:
    """All of the history is there then: with its own values, none twice, and nothing that only the trainer needs."""
    first = _store(jobs_table, 1)
    first.metric("loss", 1.0, step=1, epoch=1 / 3)
    first.close()
    second = _store(jobs_table, 2, history=HISTORY)
    second.metric("loss", 0.25, step=4, epoch=4 / 3)
    second.close()
    assert _points(jobs_table) == {
        "eval_f1": [(3, 0.5)],
        "loss": [(1, 1.0), (2, 0.5), (3, 1.0 / 3), (4, 0.25)],
        "learning_rate": [(1, 1e-3), (2, 1e-3), (3, 1e-3)],
    }
    third = _store(jobs_table, 3, history=HISTORY)
    third.close()
    client: Any = clients.dynamodb()
    assert client.scan(TableName=jobs_table)["Count"] == 8


def test_a_gap_is_filled_as_soon_as_the_table_can_be_read(
    jobs_table: str, fault_proxy: FaultProxy, monkeypatch: Any
) -> None:
    """Training does not wait for it and does not fail for it."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fault_proxy.rule = throttle("Query", 2)
    store = _store(jobs_table, 2, history=HISTORY)
    store.metric("loss", 0.25, step=4, epoch=4 / 3)
    store.close()
    assert [step for step, _ in _points(jobs_table)["loss"]] == [1, 2, 3, 4]


def test_the_rows_of_checkpoints_are_made_to_say_what_is_there(jobs_table: str) -> None:
    """A row without a checkpoint goes, one that is missing or names only the step is written whole; later calls win."""
    first = _store(jobs_table, 1)
    for step in (10, 20, 30):
        first.checkpoint(step, epoch=1.0, path=Path("/old"), size_bytes=1)
    first.close()
    client: Any = clients.dynamodb()
    key = {"PK": {"S": "JOB#j"}, "SK": {"S": "CHECKPOINT#0000000040"}}
    client.put_item(TableName=jobs_table, Item={**key, "step": {"N": "40"}})
    sealed = [Sealed(step, step / 10, Path(f"/c-{step}"), step) for step in (30, 40, 50, 60)]
    second = _store(jobs_table, 2, sealed=sealed)
    second.checkpoint_gone(60)
    second.checkpoint(20, epoch=2.0, path=Path("/new"), size_bytes=2)
    second.close()
    rows = client.scan(TableName=jobs_table)["Items"]
    found = sorted((int(row["step"]["N"]), row["path"]["S"]) for row in rows)
    assert found == [(20, "/new"), (30, "/old"), (40, "/c-40"), (50, "/c-50")]


def test_every_metric_of_a_run_can_be_filled_in() -> None:
    """What the two families send are names that are looked for."""
    from receipt_trainer.models.layoutlm.family import F1Evaluations
    from receipt_trainer.models.paddleocr_vl.family import LossEvaluations

    assert {*F1Evaluations.sent, *LossEvaluations.sent} <= set(NAMES)
