"""A fault at every call that a worker makes for a whole job, and what becomes of worker, instance and job."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from receipt_trainer.aws.dynamo import serialise
from receipt_trainer.contract.tables import job_pk
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.worker import finalize, loop, shutdown
from receipt_trainer.worker.interruptions import Interruption
from receipt_trainer.worker.loop import Worker
from receipt_trainer.worker.shutdown import ASK_FOR_S, InstanceNotEndedError
from tests.waiting import TIMEOUT_S
from tests.worker.bench import TRAINING
from tests.worker.faulty_wire import KINDS, Call, Kind
from tests.worker.whole_job import Lab, Training, WholeJob

LONG: Final = os.environ.get("TEST_ALL_FAULTS") == "1"
"""Every kind of fault at every call; otherwise a lost answer at each, and one of the others in turn."""
IN_TURN: Final[tuple[Kind, ...]] = ("refused", "reset", "500", "page")

ONE_OF: Final = frozenset({"heartbeat", "log"})
"""Threads that call as often as the machine's speed lets them: the first call of each operation is in every run."""
STARTS: Final = frozenset({"PutItem#1", "ReceiveMessage#1"})
"""Registration and first look at the queue: a worker that fails there has not begun, and is started again."""

END: Final = "TerminateInstanceInAutoScalingGroup"


@pytest.fixture(scope="module")
def lab(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Faults are not retried by botocore, and none is waited for."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**cloud.environment(), "AWS_MAX_ATTEMPTS": "1"}.items():
            patch.setenv(name, value)
        patch.setattr(loop, "FAULT_WAIT_S", 0.0)
        patch.setattr(loop, "FAULTS_S", 0.5)
        patch.setattr(finalize, "WAIT_S", 0.0)
        made = Lab(tmp_path_factory.mktemp("lab"))
        yield made
        made.close()


def calls_of_a_whole_job(lab: Lab, training: Training | None = None) -> list[Call]:
    """Every call that is made in every run, in order."""
    lab.wire.reset()
    quiet = WholeJob(lab, training)
    assert quiet.run() is None
    assert (quiet.job().status, quiet.num_messages(), quiet.members()) == ("SUCCEEDED", 0, [])
    return [call for call in lab.wire.calls if call.role not in ONE_OF or call.number == 1]


def check_end(job: WholeJob, error: Exception | None, what: str) -> None:
    """The worker has gone: its row says so, and its instance is ended, or systemd has a failure to act on."""
    is_ended = job.instance_id not in job.members()
    row = job.row()
    if error is not None:
        assert "\n" not in str(error), what
    if is_ended:
        assert row["status"] == "ENDED", what
    else:
        assert error is not None, f"{what}: the worker has gone, and its instance stays"
        assert row.get("status") in (None, "ENDED"), what


def check_jobs(cases: list[tuple[WholeJob, str]]) -> None:
    """Each job has succeeded, or does with another worker."""
    for job, what in cases:
        if job.job().status != "SUCCEEDED" or job.num_messages():
            job.finish_elsewhere()
        found = job.job()
        assert (found.status, job.num_messages()) == ("SUCCEEDED", 0), what
        assert found.attempt <= 2, what


@pytest.fixture
def training(training_command: tuple[str, ...], receipts_file: Path) -> Training:
    """A job of nine receipts and one epoch."""
    data = {"dataset_name": str(receipts_file), "examples": "line"}
    spec = {"job_name": "test", "model": "tiny", "training_config": TRAINING | {"num_epochs": 1}, "data_config": data}
    return Training(training_command, spec)


@pytest.mark.skipif(not LONG, reason="minutes; a part of `make chaos`")
def test_the_same_with_real_training_processes(
    lab: Lab, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lost answer, or one of the other faults in turn, at each call of a worker whose job is trained."""
    try_all(lab, lambda number: (("lost", *IN_TURN)[number % (1 + len(IN_TURN))],), capsys, training)


def test_a_fault_at_any_call_loses_no_job_and_leaves_no_instance(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """For each call of a whole job and each kind of fault: the worker goes on, or its row is closed and its instance
    ended; only one that has not begun fails with its instance left to systemd. The job succeeds, once."""
    try_all(lab, lambda number: KINDS if LONG else ("lost", IN_TURN[number % len(IN_TURN)]), capsys)


def try_all(
    lab: Lab,
    kinds_at: Callable[[int], Sequence[Kind]],
    capsys: pytest.CaptureFixture[str],
    training: Training | None = None,
) -> None:
    """The faults of each call in turn; what came of the jobs is looked at when all workers have gone."""
    plan = calls_of_a_whole_job(lab, training)
    cases: list[tuple[WholeJob, str]] = []
    for number, planned in enumerate(plan):
        for kind in kinds_at(number):
            what = f"{planned} {kind}"
            lab.wire.reset(lambda call, planned=planned, kind=kind: kind if call == planned else None)  # type: ignore[misc]
            job = WholeJob(lab, training)
            error = job.run()
            assert lab.wire.struck == [planned], what
            check_end(job, error, what)
            if error is not None:
                assert planned.role == "worker", what
                assert f"{planned.operation}#{planned.number}" in STARTS, f"{what}: {error}"
            cases.append((job, what))
    check_jobs(cases)
    assert len(plan) >= 28
    with capsys.disabled():
        print(f"\n{len(plan)} calls of {len({call.operation for call in plan})} operations, {len(cases)} faults")


def test_an_action_that_is_never_allowed_loses_no_job_and_is_said_in_one_line(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AccessDenied for one action after the other, always: the worker works without it, or goes with one line. Where
    rights are back, another worker completes the job."""
    monkeypatch.setattr(shutdown, "ASK_FOR_S", 0.5)
    goes: dict[str, int] = {}
    cases: list[tuple[WholeJob, str]] = []
    for denied in sorted({call.operation for call in calls_of_a_whole_job(lab)}):
        lab.wire.reset(lambda call, denied=denied: "refused" if call.operation == denied else None)  # type: ignore[misc]
        job = WholeJob(lab)
        error = job.run()
        if error is not None:
            goes[denied] = error.exit_code
        if denied != "PutItem":  # who may not write the row cannot close it
            check_end(job, error, denied)
        cases.append((job, denied))
    check_jobs(cases)
    assert goes == {"PutItem": 2, "ReceiveMessage": 2, END: 69}


@pytest.mark.parametrize("kind", ["refused", "reset"])
def test_an_instance_that_cannot_be_ended_is_tried_for_ten_minutes(lab: Lab, kind: Kind) -> None:
    """Then the process fails with the code that systemd does not start again; the row has been closed."""
    lab.wire.reset(lambda call: kind if call.operation == END else None)
    job = WholeJob(lab)
    error = job.run(max_jobs=1)
    assert isinstance(error, InstanceNotEndedError)
    assert job.slept_s >= ASK_FOR_S
    assert job.row()["status"] == "ENDED"
    assert (job.job().status, job.num_messages()) == ("SUCCEEDED", 0)


def test_a_queue_that_refuses_in_mid_life_is_endured_for_a_while(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights that lack for a moment end nobody; those that stay away end worker and instance, with one line."""
    for refused, endured_s, is_end in ((2, TIMEOUT_S, False), (10**9, 0.5, True)):
        monkeypatch.setattr(loop, "FAULTS_S", endured_s)
        lab.wire.reset(
            lambda call, refused=refused: (  # type: ignore[misc]
                "refused" if call.operation == "ReceiveMessage" and 2 <= call.number <= 1 + refused else None
            )
        )
        job = WholeJob(lab)
        error = job.run()
        assert (error is not None) == is_end
        assert job.members() == []
        assert job.row()["status"] == "ENDED"
        assert job.job().status == "SUCCEEDED"


def test_an_interruption_as_a_message_arrives_ends_the_instance_though_nothing_can_be_released(lab: Lab) -> None:
    """The message comes back by itself; the worker's last words are not lost over it."""
    job = WholeJob(lab)
    running: list[Worker] = []

    def interrupt(call: Call) -> Kind | None:
        if call.operation == "ReceiveMessage":
            running[0].interrupt(Interruption("signal", "SIGTERM"))
        return "reset" if call.operation == "ChangeMessageVisibility" else None

    lab.wire.reset(interrupt)
    assert job.run(seen=running.append) is None
    assert (job.row()["status"], job.row()["reason"]) == ("ENDED", "SIGTERM")
    assert job.instance_id not in job.members()
    assert job.job().status == "PENDING"
    job.finish_elsewhere()
    assert job.job().status == "SUCCEEDED"


def test_what_cannot_be_read_or_is_gone_ends_no_worker(lab: Lab) -> None:
    """A body that names no job and cannot be hidden, and a row deleted between claim and look: the worker stays."""
    job = WholeJob(lab)
    lab.sqs.send_message(QueueUrl=job.queue_url, MessageBody="{", MessageGroupId="x", MessageDeduplicationId="x")
    claimed = False

    def delete(call: Call) -> Kind | None:
        nonlocal claimed
        if call.operation == "Query" and claimed:
            lab.dynamodb.delete_item(TableName=lab.jobs_table, Key=serialise({"PK": job_pk(job.job_id), "SK": "JOB"}))
        claimed = claimed or call.operation == "TransactWriteItems"
        return "reset" if call.operation == "ChangeMessageVisibility" and call.number == 1 else None

    lab.wire.reset(delete)
    assert job.run() is None
    assert lab.wire.struck
    assert claimed
    assert job.members() == []


@pytest.mark.parametrize("answer", [None, "kept", "reset"])
def test_a_job_that_arrives_while_an_idle_worker_ends_is_not_lost(lab: Lab, answer: Kind | None) -> None:
    """It comes when the group is asked to end the instance. One that is ended leaves it in the queue, visible; one that
    the group keeps, or that could not be ended yet, takes it."""
    job, late = WholeJob(lab), str(uuid4())

    def arrive(call: Call) -> Kind | None:
        if call.operation != END or call.number > 1:
            return None
        job.submit(late)
        return answer

    lab.wire.reset(arrive)
    assert job.run() is None
    assert job.members() == []
    assert job.job().status == "SUCCEEDED"
    found = lab.table.get(late)
    assert (found.status, found.attempt) == (("PENDING", 0) if answer is None else ("SUCCEEDED", 1))
    if answer is None:
        assert job.num_messages(hidden=False) == 1
        job.finish_elsewhere()
    assert lab.table.get(late).status == "SUCCEEDED"
    assert job.num_messages() == 0


def test_an_instance_that_had_a_job_since_it_was_refused_is_asked_for_ten_minutes_again(lab: Lab) -> None:
    """Refused hours apart, with a job between: the second time is a first one, too."""
    job, late = WholeJob(lab), str(uuid4())

    def refuse_twice(call: Call) -> Kind | None:
        if call.operation != END or call.number > 2:
            return None
        if call.number == 1:
            job.submit(late)
        else:
            job.slept_s += ASK_FOR_S
        return "reset"

    lab.wire.reset(refuse_twice)
    assert job.run() is None
    assert job.members() == []
    assert lab.table.get(late).status == "SUCCEEDED"
