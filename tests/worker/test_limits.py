"""Limits of hours and dollars, kept by the real worker over real children."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.server_time import since_boot_s
from receipt_trainer.contract.run_record import LayoutLMRecord
from receipt_trainer.contract.tables import SWEEP_SK, attempt_sk, iso, job_pk, sweep_pk, trial_sk
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.submit import retry_job
from receipt_trainer.worker.interruptions import Advice
from receipt_trainer.worker.registry import WorkerMachine
from tests.strikes import forget
from tests.waiting import wait_for
from tests.worker.bench import STEPS, Bench, Running

UNTIL_STOPPED = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); time.sleep(600)"
COMPLETES = """
import json, pathlib, shutil, signal, sys, time
def complete(*_):
    shutil.copy({record!r}, json.loads(pathlib.Path(sys.argv[1]).read_text())["run_dir"] + "/run.json")
    sys.exit({code})
signal.signal(signal.SIGTERM, complete)
pathlib.Path({ready!r}).touch()
time.sleep(600)
"""


def stub(bench: Bench, text: str = UNTIL_STOPPED) -> None:
    """From here on this stands for a training process."""
    bench.command = (sys.executable, "-c", text)


def submit(bench: Bench, *, limits: dict[str, float], **attributes: Any) -> str:
    """Queue a job with these limits; its id."""
    spec = {"job_name": "test", "model": "tiny", **limits}
    job = Job(str(uuid4()), "test", "PENDING", queue_url=bench.queue_url, spec=spec, **attributes)
    bench.table.create(job)
    bench.queue.send(job.job_id)
    return job.job_id


def took(bench: Bench, job_id: str, hours: float, price: float | None = None) -> None:
    """An earlier attempt of a waiting job, which took so long."""
    ended = datetime.now(UTC)
    row = {"PK": job_pk(job_id), "SK": attempt_sk(1), "job_id": job_id, "attempt": 1, "price_usd_per_h": price}
    row |= {"started_at": iso(ended - timedelta(hours=hours)), "ended_at": iso(ended), "outcome": "INTERRUPTED"}
    dynamo.put(bench.dynamodb, bench.settings.jobs_table, {k: v for k, v in row.items() if v is not None}, "write")
    bench.change(job_id, attempt=1)


@pytest.mark.parametrize(
    ("limits", "machine", "prices", "said"),
    [
        ({"max_hours": 0.0001}, WorkerMachine("w"), None, "reached max_hours 0.0001 (0.00 h of instance time)"),
        ({"max_usd": 0.25}, WorkerMachine("w", price_usd_per_h=3600.0), None, "reached max_usd 0.25 ($"),
        (
            {"max_usd": 0.25},
            WorkerMachine("w", instance_type="g9.huge"),
            {"g9.huge": 3600.0},
            "reached max_usd 0.25 ($",
        ),
        (
            {"max_usd": 9e9, "max_hours": 0.0001},
            WorkerMachine("w", price_usd_per_h=1.0),
            None,
            "reached max_hours 0.0001",
        ),
    ],
)
def test_a_job_is_stopped_at_its_limit(
    bench: Bench, limits: dict[str, float], machine: WorkerMachine, prices: dict[str, float] | None, said: str
) -> None:
    """The process is asked to stop; the job is FAILED with the reason, no failed attempt, and without a message."""
    stub(bench)
    job_id = submit(bench, limits=limits, list_prices=json.dumps(prices) if prices else None)
    bench.worker(machine=machine, max_jobs=1).run()
    job = bench.table.get(job_id)
    assert (job.status, job.num_failures, job.attempt, bench.num_messages()) == ("FAILED", 0, 1, 0)
    assert job.reason is not None
    assert job.reason.startswith(said)
    assert f"receipt-trainer retry {job_id} --max-" in job.reason
    assert [row["outcome"] for row in bench.attempts(job_id)] == ["FAILED"]
    assert any(line.startswith("attempt 1 stopped at a limit: reached max_") for line in bench.log(job_id))


def test_what_a_machine_costs_that_nobody_knows(bench: Bench) -> None:
    """Dollars cannot bound it: the job's log says so; it is not stopped for them."""
    stub(bench, "import sys; sys.exit(74)")
    job_id = submit(bench, limits={"max_usd": 1e-9})
    bench.worker(machine=WorkerMachine("w", instance_type="g9.huge"), max_jobs=1).run()
    assert bench.table.get(job_id).status == "INTERRUPTED"
    assert any(line.startswith("max_usd 1e-09 cannot be kept: ") for line in bench.log(job_id))


def test_a_claim_of_a_job_at_its_limit_trains_nothing(bench: Bench, tmp_path: Path) -> None:
    """Earlier attempts count: the job ends with its claim, and no process is started. Below the limit one is."""
    stub(bench, f"import pathlib, sys; pathlib.Path({str(tmp_path / 'ran')!r}).touch(); sys.exit(74)")
    spent = submit(bench, limits={"max_hours": 2.0})
    took(bench, spent, 2.0)
    bench.worker(max_jobs=1).run()
    assert bench.table.get(spent).status == "FAILED"
    assert not (tmp_path / "ran").exists()
    dear = submit(bench, limits={"max_usd": 3.0, "max_hours": 9})
    took(bench, dear, 2.0, price=1.6)
    bench.worker(max_jobs=1).run()
    assert (bench.table.get(dear).reason or "").startswith("reached max_usd 3 ($3.20); ")
    left = submit(bench, limits={"max_usd": 3.3, "max_hours": 9})
    took(bench, left, 2.0, price=1.6)
    bench.worker(max_jobs=1).run()
    assert bench.table.get(left).status == "INTERRUPTED"
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(("code", "states"), [(0, ["SUCCEEDED"]), (75, ["INTERRUPTED", "INTERRUPTED"])])
def test_a_run_that_completes_while_it_is_stopped(bench: Bench, tmp_path: Path, code: int, states: list[str]) -> None:
    """It has SUCCEEDED; or it is to be delivered, which no limit forbids: another attempt begins for that."""
    record = LayoutLMRecord(
        job_name="test",
        job_id="1",
        model="tiny",
        training_config={},
        data_config={},
        label_list=["O"],
        status="complete",
    )
    record.write(tmp_path / "complete.json")
    ready = tmp_path / "ready"
    job_id = submit(bench, limits={"max_hours": 100 / 3600})
    bench.run_dir(job_id).mkdir(parents=True)
    stub(bench, COMPLETES.format(record=str(tmp_path / "complete.json"), code=code, ready=str(ready)))
    worker = bench.worker(clock=lambda: since_boot_s() + (150.0 if ready.exists() else 0.0), max_jobs=1)
    running = Running(worker)
    wait_for(ready.exists)
    worker.advise(Advice("rebalance recommendation"))  # wakes it: it waits by the real clock
    running.end()
    assert bench.table.get(job_id).status == states[0]
    if states[1:]:
        took(bench, job_id, 100 / 3600)
        stub(bench, "import sys; sys.exit(74)")
        bench.worker(max_jobs=1).run()
        assert bench.table.get(job_id).status == states[1]
    assert len(bench.attempts(job_id)) == len(states)


def test_training_stops_with_a_checkpoint_and_a_higher_limit_resumes(
    bench: Bench, hold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real training: stopped in step 7, FAILED; refused without a higher limit; with one it goes on to the end."""
    monkeypatch.setenv("JOBS_TABLE_NAME", bench.settings.jobs_table)
    job_id = bench.submit()
    spec = bench.table.get(job_id).spec | {"max_hours": 100 / 3600}
    bench.change(job_id, spec=json.dumps(spec))
    # The lease lasts beyond the jump; the advice wakes the worker, which would wait by the real clock.
    worker = bench.worker(clock=lambda: since_boot_s() + (150.0 if hold.exists() else 0.0), max_jobs=1)
    running = Running(worker)
    wait_for(hold.exists)
    worker.advise(Advice("rebalance recommendation"))
    running.end()
    (attempt,) = bench.attempts(job_id)
    assert (bench.table.get(job_id).status, attempt["outcome"]) == ("FAILED", "FAILED")
    step = attempt["checkpoint_step"]
    assert 1 <= step <= 8
    took(bench, job_id, 100 / 3600)  # by the real clock it took seconds
    with pytest.raises(UserError, match=r"has reached its max_hours 0\.027.*: receipt-trainer retry .* --max-hours"):
        retry_job(job_id)
    with pytest.raises(UserError, match=r"has reached its max_hours 0\.01"):
        retry_job(job_id, limits=Limits(max_hours=0.01))
    retry_job(job_id, limits=Limits(max_hours=1.0))
    forget(monkeypatch, "hold")
    bench.worker(max_jobs=1).run()
    job = bench.table.get(job_id)
    assert (job.status, job.spec["max_hours"], job.num_failures) == ("SUCCEEDED", 1.0, 0)
    assert bench.attempts(job_id)[-1]["start_step"] == step
    assert sorted(set(bench.steps(job_id))) == STEPS


def test_all_trials_of_a_sweep_share_one_limit(bench: Bench) -> None:
    """What another trial took counts; the reason names the sweep, and `retry` of one job does not go round it."""
    stub(bench)
    tags = {"sweep": "s", "trial": "0", "seed": "1"}
    jobs = [submit(bench, limits={}, tags=tags | {"trial": str(number)}) for number in range(2)]
    took(bench, jobs[0], 1.0)
    bench.change(jobs[0], status="SUCCEEDED")
    for number, job_id in enumerate(jobs):
        row = {"PK": sweep_pk("s"), "SK": trial_sk(number), "job_ids": [job_id]}
        dynamo.put(bench.dynamodb, bench.settings.jobs_table, row, "write a trial")
    sweep = {"PK": sweep_pk("s"), "SK": SWEEP_SK, "max_hours": 1.0001}
    dynamo.put(bench.dynamodb, bench.settings.jobs_table, sweep, "write a sweep")
    bench.worker(max_jobs=1).run()
    job = bench.table.get(jobs[1])
    assert job.status == "FAILED"
    assert (job.reason or "").startswith(
        "sweep 's' reached max_hours 1.0001 (1.00 h of instance time); receipt-trainer"
    )
    with pytest.raises(UserError, match=r"is of sweep 's', which has reached its max_hours 1\.0001 "):
        bench.table.retry(jobs[1], Limits(max_hours=5))


def test_a_limit_that_cannot_be_read_is_read_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, make_faulty: Callable[[int], Any]
) -> None:
    """A fault of the table while the worker looks stops nothing; the next look stops the job."""
    monkeypatch.setattr("receipt_trainer.worker.limit_watch.AGAIN_S", 0.2)
    stub(bench)
    job_id = submit(bench, limits={"max_hours": 0.0001})
    worker = bench.worker(max_jobs=1)
    bench.table.table = bench.table.table._replace(client=make_faulty(2))
    worker.run()
    assert bench.table.get(job_id).status == "FAILED"


@pytest.fixture
def make_faulty(bench: Bench) -> Callable[[int], Any]:
    """Makes a client whose first so many BatchGetItem fail as if nobody answered."""
    from botocore.exceptions import EndpointConnectionError

    class Faulty:
        def __init__(self, left: int) -> None:
            self._left = left

        def batch_get_item(self, **arguments: Any) -> Any:
            self._left -= 1
            if self._left >= 0:
                raise EndpointConnectionError(endpoint_url="http://nowhere")
            return bench.dynamodb.batch_get_item(**arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(bench.dynamodb, name)

    return Faulty


def test_a_waiting_job_takes_another_limit(bench: Bench) -> None:
    """`retry` sets the limits of a job that waits, and keeps what it does not name; without them nothing is written."""
    job_id = submit(bench, limits={"max_hours": 2.0})
    before = bench.table.get(job_id)
    assert bench.table.retry(job_id) == before
    after = bench.table.retry(job_id, Limits(max_usd=3.0))
    assert after.spec == {**before.spec, "max_usd": 3.0}
    assert replace(after, spec=before.spec, version=before.version, updated_at=before.updated_at) == before
