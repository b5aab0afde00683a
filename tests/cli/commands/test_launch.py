"""A pool has an instance for each job as soon as one is queued, on groups and tables of the embedded AWS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract.tables import iso
from receipt_trainer.fleet.groups import ROUNDS, Launch, launch_for_jobs
from receipt_trainer.local.emulator import LocalCloud
from tests.cli.jobs import Caller, add_job
from tests.fleet.refusing import Refusing
from tests.fleet.stack import Stack, fall, stand

JOB = "job_name: my-job\nmodel: tiny\nresources: {pool: %s}\n"


@pytest.fixture
def stack(aws: LocalCloud, tmp_path: Path) -> Iterator[Stack]:
    """One instance in pool gpu, none in pool cpu; both may have nine."""
    made = stand(aws.client, tmp_path, 1)
    parameter = {"Name": made.outputs.training_parameter, "Value": "{}", "Type": "String", "Overwrite": True}
    clients.ssm().put_parameter(**parameter)  # type: ignore[arg-type]
    yield made
    fall(aws.client, made)


def ask(stack: Stack, pool: str = "gpu", new: tuple[str, ...] = (), client: Any = None) -> Launch:
    """`launch_for_jobs` for a pool of the stack."""
    name = {"gpu": stack.gpu, "cpu": stack.cpu}[pool].name
    return launch_for_jobs(
        client or clients.autoscaling(), Table(clients.dynamodb(), stack.outputs.jobs_table), pool, name, new
    )


def desired(stack: Stack, pool: str = "gpu") -> int:
    """What the group asks for."""
    return int({"gpu": stack.gpu, "cpu": stack.cpu}[pool].group()["DesiredCapacity"])


def fill(stack: Stack, pool: str, *statuses: str) -> None:
    """A job in each of these states."""
    for status in statuses:
        add_job(stack.outputs.jobs_table, name=status.lower(), status=status, pool=pool)


def bound(stack: Stack, maximum: int) -> None:
    """Another maximum for the cpu pool."""
    clients.autoscaling().update_auto_scaling_group(AutoScalingGroupName=stack.cpu.name, MaxSize=maximum)


def test_there_are_as_many_instances_as_jobs(stack: Stack) -> None:
    """Waiting and trained jobs of this pool count, ended ones and another pool's do not; the busy instance counts."""
    fill(stack, "gpu", "RUNNING", "INTERRUPTED", "SUCCEEDED", "FAILED", "CANCELLED")
    fill(stack, "cpu", "PENDING", "PENDING", "PENDING")
    found = ask(stack)
    assert (found.kind, found.before, found.after, found.num_jobs) == ("raised", 1, 2, 2)
    assert (desired(stack), desired(stack, "cpu")) == (2, 0)
    again = ask(stack)
    assert (again.kind, again.after, desired(stack)) == ("enough", 2, 2)


def test_no_instance_is_asked_for_a_run_that_is_tried_later(stack: Stack) -> None:
    """A pause may take hours, and a held job waits for a person; newer ones of them hide no older one that waits."""
    table, now = stack.outputs.jobs_table, utc_now()
    waiting: dict[str, Any] = {"status": "INTERRUPTED", "pool": "cpu"}
    add_job(table, **waiting, next_try_at=iso(now - timedelta(minutes=1)))
    for number in range(12):
        add_job(table, minutes=1 + number, **waiting, next_try_at=iso(now + timedelta(hours=5)))
        add_job(table, minutes=1 + number, **waiting, held_reason="AccessDenied")
    found = ask(stack, "cpu")
    assert (found.num_jobs, desired(stack, "cpu")) == (1, 1)


def test_a_job_that_the_index_does_not_show_yet_counts_once(stack: Stack) -> None:
    """It was just written; a job that is in the index, too, is the same job."""
    listed = add_job(stack.outputs.jobs_table, name="listed", status="PENDING", pool="cpu")
    assert ask(stack, "cpu", (listed, "not-listed-yet")).after == 2


def test_never_lowered_and_never_above_the_maximum(stack: Stack) -> None:
    """More is asked for than there are jobs: that stays. More jobs than the maximum: the maximum."""
    clients.autoscaling().set_desired_capacity(AutoScalingGroupName=stack.gpu.name, DesiredCapacity=4)
    fill(stack, "gpu", "PENDING")
    assert (ask(stack).kind, desired(stack)) == ("enough", 4)
    bound(stack, 2)
    fill(stack, "cpu", *["PENDING"] * 3)
    found = ask(stack, "cpu")
    assert (found.kind, found.after, desired(stack, "cpu")) == ("raised", 2, 2)
    assert ask(stack, "cpu").kind == "full"


def test_a_stopped_or_suspended_pool_is_left_alone(stack: Stack) -> None:
    """What a person, or a row of failed boots, has stopped stays so."""
    fill(stack, "cpu", "PENDING")
    clients.autoscaling().suspend_processes(AutoScalingGroupName=stack.cpu.name, ScalingProcesses=["Launch"])
    assert (ask(stack, "cpu").kind, desired(stack, "cpu")) == ("suspended", 0)
    bound(stack, 0)
    assert (ask(stack, "cpu").kind, desired(stack, "cpu")) == ("stopped", 0)


class Overtaken:
    """A client whose first setting of the capacity comes after another's, who had seen one job less."""

    def __init__(self, real: Any) -> None:
        self._real, self.num_set = real, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def set_desired_capacity(self, **asked: Any) -> None:
        self.num_set += 1
        self._real.set_desired_capacity(**asked)
        if self.num_set == 1:
            self._real.set_desired_capacity(**{**asked, "DesiredCapacity": asked["DesiredCapacity"] - 1})


def test_who_is_overwritten_by_a_smaller_number_mends_it(stack: Stack) -> None:
    """The capacity has no compare-and-set: after setting it the group is looked at again, a bounded number of times."""
    fill(stack, "cpu", "PENDING", "PENDING")
    client = Overtaken(clients.autoscaling())
    assert (ask(stack, "cpu", client=client).after, desired(stack, "cpu")) == (2, 2)
    assert client.num_set == 2 < ROUNDS


def submit(call: Caller, stack: Stack, tmp_path: Path, pool: str = "cpu", *more: str) -> Any:
    """`submit-job` on the stack."""
    path = tmp_path / "job.yaml"
    path.write_text(JOB % pool)
    return call("submit-job", "--config", str(path), "--outputs", str(stack.path), *more)


def test_a_job_starts_when_it_is_submitted(stack: Stack, call: Caller, tmp_path: Path) -> None:
    """`submit-job` raises the group and says so; the next one raises it again; stdout is the id alone."""
    said = submit(call, stack, tmp_path)
    assert (said.code, len(said.out.split())) == (0, 1), said.err
    assert "pool cpu: 1 instance asked for, 0 before" in said.err
    found = submit(call, stack, tmp_path, "cpu", "--json").json["launch"]
    assert (found["kind"], found["before"], found["after"], found["fault"]) == ("raised", 1, 2, None)
    assert desired(stack, "cpu") == 2
    assert submit(call, stack, tmp_path, "cpu", "--dry-run").code == 0
    assert desired(stack, "cpu") == 2


def test_a_retried_job_starts_as_well(stack: Stack, call: Caller, tmp_path: Path) -> None:
    """Its pool had no instance any more."""
    job_id = submit(call, stack, tmp_path).out.strip()
    assert call("cancel", "--outputs", str(stack.path), job_id).code == 0
    clients.autoscaling().set_desired_capacity(AutoScalingGroupName=stack.cpu.name, DesiredCapacity=0)
    said = call("retry", "--outputs", str(stack.path), job_id)
    assert (said.code, desired(stack, "cpu")) == (0, 1)
    assert "pool cpu: 1 instance asked for, 0 before" in said.err


def test_a_sweep_starts_as_many_as_it_has_jobs(stack: Stack, call: Caller, tmp_path: Path) -> None:
    """Three trials, three instances, one line."""
    path = tmp_path / "job.yaml"
    path.write_text(JOB % "cpu")
    words = ("sweep", "--config", str(path), "--outputs", str(stack.path), "--learning-rates", "1e-5,3e-5,6e-5")
    said = call(*words, "--name", f"rates-{uuid4().hex[:8]}")
    assert said.code == 0, said.err
    assert said.err.count("pool cpu: 3 instances asked for, 0 before") == 1
    assert desired(stack, "cpu") == 3


def test_what_stops_a_pool_is_said(stack: Stack, call: Caller, tmp_path: Path) -> None:
    """Stopped: the command that starts it. Suspended: the command that resumes it. The job is queued all the same."""
    clients.autoscaling().suspend_processes(AutoScalingGroupName=stack.cpu.name, ScalingProcesses=["Launch"])
    said = submit(call, stack, tmp_path)
    assert (said.code, f"--auto-scaling-group-name {stack.cpu.name}" in said.err) == (0, True)
    bound(stack, 0)
    said = submit(call, stack, tmp_path)
    assert said.code == 0
    assert f"receipt-trainer fleet --outputs {stack.path} --start --pool cpu" in said.err
    assert desired(stack, "cpu") == 0


REFUSED = ("AccessDenied", "User is not authorized to perform: autoscaling:SetDesiredCapacity")


@pytest.mark.parametrize("lacks", ["the right", "the service"])
def test_without_the_right_to_the_job_is_queued_and_the_wait_is_said(
    stack: Stack, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    """Auto Scaling refuses, or cannot be reached: exit code 0, why, and how long the wait can be."""
    if lacks == "the service":
        monkeypatch.setenv("AWS_ENDPOINT_URL_AUTO_SCALING", "http://127.0.0.1:9")
    else:
        client = Refusing(clients.autoscaling(), {stack.cpu.name: REFUSED})
        monkeypatch.setattr(clients, "autoscaling", lambda max_attempts=None: client)
    said = submit(call, stack, tmp_path)
    assert (said.code, len(said.out.split())) == (0, 1)
    assert "pool cpu was not asked for an instance" in said.err
    assert "up to 15 minutes" in said.err
    assert desired(stack, "cpu") == 0
