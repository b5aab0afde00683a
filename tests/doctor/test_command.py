"""`receipt-trainer doctor` as a user calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.contract.tables import JOBS
from tests.cli.conftest import call
from tests.cli.jobs import Caller, Said, add_job
from tests.doctor.conftest import ROOT, Stood, write_pulumi
from tests.doctor.wire import Wire, quota
from tests.queues import new_queue

__all__ = ["call"]


Doctor = Callable[..., Said]


@pytest.fixture
def doctor(call: Caller, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """The command at 80 columns, in the program's folder, or in another `cwd`."""

    def run(*arguments: object, cwd: Path = ROOT) -> Said:
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.chdir(cwd)
        return call("doctor", *arguments)

    return run


@pytest.fixture
def programs(stood: Stood, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On PATH a pulumi that knows the stack, and programs of today."""
    state = {"deployment": {"resources": stood.resources}}
    monkeypatch.setenv("PATH", write_pulumi(tmp_path, stood.outputs.model_dump(mode="json"), state))
    for name, says in (("aws", "aws-cli/2.31.0 Python/3.13"), ("session-manager-plugin", "1.2.707.0")):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho "{says}"\n')
        (tmp_path / "bin" / name).chmod(0o755)


def test_a_stack_that_is_well(programs: None, doctor: Doctor) -> None:
    """Exit code 0; a line for each thing, within 80 columns."""
    done = doctor("--stack", "dev")
    assert done.code == 0, done.out + done.err
    assert "ok       pulumi 3.260.0" in done.out
    assert "failure" not in done.out
    assert done.out.splitlines()[-1].endswith("0 failed")
    assert max(map(len, done.out.splitlines())) <= 80


def test_a_failure(programs: None, doctor: Doctor, wire: Wire, tmp_path: Path) -> None:
    """Exit code 1, and the command that mends it on one line of its own, whole, to be copied."""
    wire.answers["GetServiceQuota"] = quota(0)
    saved = tmp_path / "outputs"
    done = doctor("--outputs", str(saved))
    assert done.code == 1
    assert (
        "           $ aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-3819A6DF"
        " --desired-value 4 --region us-east-1"
    ) in done.out.splitlines()


def test_for_scripts(programs: None, doctor: Doctor, tmp_path: Path) -> None:
    """--json has all findings with level and remedies, the counts, and what was looked at."""
    job = tmp_path / "job.yaml"
    job.write_text("job_name: a-job\nmodel: tiny\n")
    done = doctor(str(job), "--stack", "dev", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["stack"], said["region"], said["account"]) == ("dev", "us-east-1", "123456789012")
    assert sum(said["counts"].values()) == len(said["findings"])
    assert {one["level"] for one in said["findings"]} <= {"ok", "warning"}
    found = [one for one in said["findings"] if one["check"] == "job files"]
    assert [one["found"] for one in found] == [f"{job}: model tiny comes with the trainer"]


def test_before_anything_is_installed(
    wire: Wire, doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pulumi, without a stack, elsewhere: no traceback, what is lacking is said, exit code 1."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    done = doctor("--stack", "dev", cwd=tmp_path)
    assert done.code == 1
    assert "no pulumi on PATH" in done.out


def test_mistakes(doctor: Doctor) -> None:
    """A file that is not there, two names of one stack, the local stack: one line, exit code 2."""
    for arguments in (("nowhere.yaml",), ("--outputs", "nowhere.json"), ("--stack", "local")):
        done = doctor(*arguments)
        assert done.code == 2, arguments
        assert len(done.err.splitlines()) == 1
    assert doctor("--stack", "dev", "--outputs", "x").code == 2


def test_heal(stood: Stood, wire: Wire, doctor: Doctor, tmp_path: Path) -> None:
    """--heal takes the function's look of six minutes ago as its first, sends what is missing, and says so, also for
    scripts; a second call finds nothing to do."""
    outputs, dynamodb, sqs = own_queue(stood)
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps(outputs.model_dump(mode="json")))
    [place] = outputs.places()
    six_minutes_ago = datetime.now(UTC) - timedelta(minutes=6)
    jobs = []
    for more in ((), ("--json",)):
        jobs.append(add_job(outputs.jobs_table, queue_url=place.url, version=1, pool="gpu"))
        asked = dynamodb, sqs, outputs.jobs_table
        waiting_calls.heal(*asked, waiting_calls.survey(*asked, [place], six_minutes_ago))
        done = doctor("--heal", "--outputs", str(saved), *more)
        assert done.code == 0, done.err
        if more:
            said = json.loads(done.out)
            assert sorted(said["sent"]["gpu-normal"]) == sorted(jobs)
            assert (said["moved"], said["not_done"]) == ({}, [])
        else:
            assert done.out.splitlines() == [
                "1 job waits in gpu-normal, 0 messages",
                f"gpu-normal: 1 new message: {jobs[0]}",
            ]
    done = doctor("--heal", "--outputs", str(saved))
    assert done.out.splitlines() == ["2 jobs wait in gpu-normal, 3 messages"]
    dynamodb.delete_table(TableName=outputs.jobs_table)


def own_queue(stood: Stood) -> tuple[StackOutputs, Any, Any]:
    """The stack's outputs with one queue and a jobs table of the test's own, and clients."""
    dynamodb, sqs, name = clients.dynamodb(), clients.sqs(), uuid4().hex[:8]
    dynamodb.create_table(**JOBS.create_arguments(f"jobs-{name}"))
    url = new_queue(name, sqs)
    pool = stood.outputs.pools["gpu"].model_copy(update={"queue_urls": {"normal": url}})
    return stood.outputs.model_copy(update={"jobs_table": f"jobs-{name}", "pools": {"gpu": pool}}), dynamodb, sqs


def test_heal_that_cannot_be_done_to_the_end(stood: Stood, wire: Wire, doctor: Doctor, tmp_path: Path) -> None:
    """A queue that is not there: one line, exit code 1; without a stack, or with a job file: exit code 2."""
    outputs, dynamodb, sqs = own_queue(stood)
    sqs.delete_queue(QueueUrl=outputs.places()[0].url)
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps(outputs.model_dump(mode="json")))
    done = doctor("--heal", "--outputs", str(saved))
    assert done.code == 1
    assert "gpu-normal: " in done.err
    assert len(done.err.splitlines()) == 1
    saved.with_name("job.yaml").write_text("model: tiny")
    for arguments in ((), (str(saved.with_name("job.yaml")), "--outputs", str(saved))):
        done = doctor("--heal", *arguments)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
    dynamodb.delete_table(TableName=outputs.jobs_table)
