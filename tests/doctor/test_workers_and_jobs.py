"""Groups, boots and job files, on the groups, tables and queues of a stack that stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract.outputs import PoolOutputs
from receipt_trainer.contract.tables import INSTANCE_SK, instance_pk, iso
from receipt_trainer.doctor import workers_and_jobs
from receipt_trainer.doctor.findings import Finding
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.jobs.queue import SqsQueue
from tests.doctor.conftest import levels, look, with_outputs
from tests.doctor.wire import Answer, Wire, no_right_on_ec2
from tests.queues import new_queue


@pytest.fixture(name="subject")
def with_fresh_queues(subject: Subject) -> Iterator[Subject]:
    """The stack with empty queues of the pool gpu; its groups and rows are put back afterwards."""
    assert subject.outputs
    sqs, dynamodb, pool = clients.sqs(), clients.dynamodb(), subject.outputs.pools["gpu"]
    urls = {kind: new_queue() for kind in ("high", "normal")}
    fresh = pool.model_copy(update={"queue_urls": urls})
    yield with_outputs(subject, pools={**subject.outputs.pools, "gpu": fresh})
    group = clients.autoscaling()
    group.resume_processes(AutoScalingGroupName=pool.auto_scaling_group, ScalingProcesses=["Launch"])
    group.update_auto_scaling_group(AutoScalingGroupName=pool.auto_scaling_group, MinSize=0, MaxSize=1)
    for url in urls.values():
        sqs.delete_queue(QueueUrl=url)
    for table in (subject.outputs.jobs_table, subject.outputs.instances_table):
        for row in list(dynamo.scan(dynamodb, table, "read the rows")):
            dynamodb.delete_item(TableName=table, Key=dynamo.serialise({"PK": row["PK"], "SK": row["SK"]}))


@pytest.fixture
def gpu(subject: Subject) -> PoolOutputs:
    """The pool gpu."""
    assert subject.outputs
    return subject.outputs.pools["gpu"]


def test_a_suspended_group(subject: Subject, gpu: PoolOutputs) -> None:
    """Launches that are suspended are a failure with the command that resumes them."""
    assert levels(look(workers_and_jobs.look_at_groups, subject)) == ["ok", "ok"]
    group = clients.autoscaling()
    group.suspend_processes(AutoScalingGroupName=gpu.auto_scaling_group, ScalingProcesses=["Launch"])
    found = look(workers_and_jobs.look_at_groups, subject)
    assert levels(found) == ["failure", "ok"]
    assert found[0].remedies == (
        "aws autoscaling resume-processes --auto-scaling-group-name receipt-trainer-dev-workers-gpu"
        " --scaling-processes Launch",
    )


def test_a_stopped_group(subject: Subject, gpu: PoolOutputs) -> None:
    """A maximum of 0 is a warning with the command that starts the pool."""
    clients.autoscaling().update_auto_scaling_group(AutoScalingGroupName=gpu.auto_scaling_group, MaxSize=0)
    found = look(workers_and_jobs.look_at_groups, subject)
    assert levels(found) == ["warning", "ok"]
    assert found[0].remedies == ("receipt-trainer fleet --start --pool gpu --stack dev",)


def test_a_group_at_its_maximum(subject: Subject, gpu: PoolOutputs, wire: Wire) -> None:
    """All that it may have, and jobs that wait: a warning; without jobs all is well."""
    group = f"<AutoScalingGroupName>{gpu.auto_scaling_group}</AutoScalingGroupName>"
    counts = "<MinSize>0</MinSize><MaxSize>2</MaxSize><DesiredCapacity>2</DesiredCapacity>"
    inner = f"<AutoScalingGroups><member>{group}{counts}</member></AutoScalingGroups>"
    name = "DescribeAutoScalingGroups"
    wire.answers[name] = no_right_on_ec2()._replace(
        status=200, body=f"<{name}Response><{name}Result>{inner}</{name}Result></{name}Response>"
    )
    only_gpu = with_outputs(subject, pools={"gpu": gpu})
    assert levels(look(workers_and_jobs.look_at_groups, only_gpu)) == ["ok"]
    SqsQueue(clients.sqs(), gpu.queue_urls["high"]).send("a-job")
    (found,) = look(workers_and_jobs.look_at_groups, only_gpu)
    assert found.level == "warning"
    assert found.remedies == ("receipt-trainer fleet --start --pool gpu --max-instances 3 --stack dev",)


def test_a_group_that_is_gone(subject: Subject, gpu: PoolOutputs) -> None:
    """A group that is not there is a failure, and the other pool is seen."""
    pools = {"gpu": gpu.model_copy(update={"auto_scaling_group": "gone"})}
    assert subject.outputs
    found = look(workers_and_jobs.look_at_groups, with_outputs(subject, pools=subject.outputs.pools | pools))
    assert levels(found) == ["failure", "ok"]


def put_instance(subject: Subject, name: str, status: str, minute: int, reason: str = "") -> None:
    """A row of the instances table, so many minutes old."""
    assert subject.outputs
    at = iso(subject.now.replace(minute=0)).replace(":00:", f":{59 - minute:02}:")
    row = {"PK": instance_pk(name), "SK": INSTANCE_SK, "instance_id": name, "pool": "gpu", "status": status, "at": at}
    table = subject.outputs.instances_table
    dynamo.put(clients.dynamodb(), table, row | {"reason": reason}, "put an instance")


def test_failed_boots(subject: Subject, gpu: PoolOutputs) -> None:
    """The last boot of a pool that failed is a failure with its reason; one before a good one is a warning."""
    assert [one.text for one in look(workers_and_jobs.look_at_boots, subject)] == ["no instance has started in a week"]
    put_instance(subject, "i-1", "ENDED", 9)
    assert levels(look(workers_and_jobs.look_at_boots, subject)) == ["ok"]
    put_instance(subject, "i-2", "BOOT_FAILED", 5, "boot failed: step=install exit=1")
    (found,) = look(workers_and_jobs.look_at_boots, subject)
    assert found.level == "failure"
    assert "1 of 2 instances of a week failed; the last: boot failed: step=install exit=1" in found.text
    assert found.remedies == ("aws logs tail /receipt-trainer/dev/boot --since 7d --log-stream-name-prefix i-2",)
    put_instance(subject, "i-3", "RUNNING", 1)
    assert levels(look(workers_and_jobs.look_at_boots, subject)) == ["warning"]


HUB_PATH = "/microsoft/layoutlm-base-uncased/resolve/main/config.json"


def job(subject: Subject, folder: Path, text: str = "") -> Finding:
    """What is found of one job file."""
    path = folder / "job.yaml"
    path.write_text(f"job_name: a-job\n{text}")
    (found,) = look(workers_and_jobs.look_at_jobs, dataclasses.replace(subject, job_files=(path,)))
    return found


def test_without_job_files(subject: Subject) -> None:
    """None was named: that is well, and said."""
    assert levels(look(workers_and_jobs.look_at_jobs, subject)) == ["ok"]


def test_a_model_without_the_internet(subject: Subject, tmp_path: Path) -> None:
    """With `none`, the hub is out of reach: a failure with three commands, until the wheels bucket has a copy."""
    alone = with_outputs(subject, nat="none")
    found = job(alone, tmp_path)
    assert found.level == "failure"
    assert [one.split()[0:3] for one in found.remedies] == [
        ["hf", "download", "microsoft/layoutlm-base-uncased"],
        ["aws", "s3", "sync"],
        ["aws", "imagebuilder", "start-image-pipeline-execution"],
    ]
    assert alone.outputs
    key = "hf_cache/hub/models--microsoft--layoutlm-base-uncased/snapshots/1/config.json"
    clients.s3().put_object(Bucket=alone.outputs.wheels_bucket, Key=key, Body=b"{}")
    assert job(alone, tmp_path).level == "ok"
    clients.s3().delete_object(Bucket=alone.outputs.wheels_bucket, Key=key)


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (404, "failure"), (401, "failure"), (503, "warning")])
def test_a_model_of_the_hub(status: int, level: str, subject: Subject, tmp_path: Path, wire: Wire) -> None:
    """Where workers reach the hub it is asked without a token, as they ask; what it lacks is a failure."""
    wire.answers[HUB_PATH] = Answer(status, "application/json", "")
    assert job(with_outputs(subject, nat="public"), tmp_path).level == level


def test_a_hub_out_of_reach(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that this machine does not reach is a warning: workers may."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert job(subject, tmp_path).level == "warning"


def test_outputs_of_an_older_stack(subject: Subject, tmp_path: Path) -> None:
    """Where the outputs do not say how workers reach the internet, nothing is claimed."""
    older = dataclasses.replace(with_outputs(subject, nat=None), settings={})
    found = job(older, tmp_path)
    assert (found.level, found.remedies) == ("warning", ("pulumi up --stack dev",))


def test_a_folder(subject: Subject, tmp_path: Path) -> None:
    """A folder of this machine is on no worker; one of the workers' file system is not seen from here."""
    assert job(subject, tmp_path, f"model: {tmp_path}\n").level == "failure"
    assert job(subject, tmp_path, "model: /mnt/training/models/mine\n").level == "warning"
    assert job(subject, tmp_path, "model: tiny\n").level == "ok"


def test_a_wrong_job_file(subject: Subject, tmp_path: Path) -> None:
    """A wrong key, or a pool that the stack lacks, is a failure that names it; other files are looked at."""
    found = job(subject, tmp_path, "modle: tiny\n")
    assert found.level == "failure"
    assert "modle" in found.text
    assert subject.outputs
    small = with_outputs(subject, pools={"cpu": subject.outputs.pools["cpu"]})
    assert "no pool 'gpu'" in job(small, tmp_path, "model: tiny\nresources: {gpu: true}\n").text
