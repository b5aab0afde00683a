from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from receipt_trainer.aws import dynamo
from receipt_trainer.jobs.model import UnreadableRow
from receipt_trainer.jobs.queue import VISIBILITY_S
from receipt_trainer.worker.interruptions import Interruption
from tests.fault_proxy import Answer, FaultProxy
from tests.odd_rows import ODD
from tests.waiting import wait_for
from tests.worker.bench import Bench, Running


def spoil(bench: Bench, job_id: str, change: dict[str, Any]) -> None:
    """Put these values into the job's row."""
    (row,) = bench.rows(job_id, "JOB")
    dynamo.put(bench.dynamodb, bench.settings.jobs_table, row | change, "spoil the row")


def test_rows_that_cannot_be_read_stop_nobody(fault_proxy: FaultProxy, make_bench: Callable[..., Bench]) -> None:
    """One worker meets a row of every kind: it says what is wrong, hides each for five minutes, and trains the next."""
    hidden_s: list[int] = []

    def listen(name: str, count: int, body: dict[str, Any]) -> Answer | None:
        if name == "ChangeMessageVisibility":
            hidden_s.append(body["VisibilityTimeout"])
        return None

    fault_proxy.rule = listen
    bench = make_bench()
    odd = {bench.submit(): case for case in ODD.values()}
    for job_id, (change, _) in odd.items():
        spoil(bench, job_id, change)
    good = bench.submit(num_epochs=1)
    with capture_logs() as logs:
        assert bench.worker(beat_s=1e5, lease_s=10**6).run() == "idle for 0 s"
    assert bench.table.get(good).status == "SUCCEEDED"
    said = {line["job_id"]: line["reason"] for line in logs if "cannot read the job's row" in line["event"]}
    assert said.keys() == odd.keys()
    assert all(said[job_id].startswith(reason) for job_id, (_, reason) in odd.items())
    assert hidden_s == [VISIBILITY_S] * len(odd)
    assert bench.num_messages() == len(odd)
    assert not any(bench.attempts(job_id) for job_id in odd)


def test_a_row_that_is_spoilt_while_its_job_trains_ends_the_attempt_alone(bench: Bench, hold: Path) -> None:
    """The worker cannot write the end, says so, and goes as it was asked to; the message is there for the next one."""
    job_id = bench.submit()
    running = Running(bench.worker())
    wait_for(hold.exists)
    spoil(bench, job_id, {"tags": "a"})
    with pytest.raises(UnreadableRow, match="tags: 'a' is not a mapping of texts"):
        bench.table.get(job_id)
    running.worker.interrupt(Interruption("signal", "SIGTERM"))
    assert running.end() == "SIGTERM"
    assert bench.num_messages() == 1
