from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from receipt_trainer.aws.autoscaling import GroupMember
from receipt_trainer.worker.circuit_breaker import Breaker
from receipt_trainer.worker.finalize import Ending
from receipt_trainer.worker.registry import WorkerMachine
from tests.worker.bench import Bench

BROKEN = Ending("failed", "killed by SIGSEGV", is_machine_fault=True)


def reason_after(*endings: Ending) -> str | None:
    breaker = Breaker()
    for ending in endings:
        breaker.ended(ending)
    return breaker.reason


def test_two_failures_of_the_machine_in_a_row_end_its_work() -> None:
    """What says nothing of the machine is not counted and breaks no row; what shows that it works does."""
    assert reason_after(BROKEN) is None
    assert "killed by SIGSEGV" in (reason_after(BROKEN, BROKEN) or "")
    for neutral in (Ending("user_error"), Ending("interrupted"), Ending("cancelled"), Ending("lost")):
        assert reason_after(BROKEN, neutral) is None
        assert reason_after(BROKEN, neutral, BROKEN) is not None
    for good in (Ending("succeeded"), Ending("failed", "exit code 1: ValueError")):
        assert reason_after(BROKEN, good, BROKEN) is None


def test_one_run_that_this_machine_cannot_deliver_ends_its_work() -> None:
    """Rights or a CLI that lack will lack for the next job, too; S3 that is away says nothing of the machine."""
    refused = Ending("upload_failed", "AccessDenied", is_machine_fault=True)
    assert "AccessDenied" in (reason_after(refused) or "")
    assert "AccessDenied" in (reason_after(refused, Ending("succeeded")) or "")
    assert reason_after(BROKEN, Ending("upload_failed", "S3 is away")) is None
    assert reason_after(BROKEN, Ending("upload_failed", "S3 is away"), BROKEN) is not None


def test_an_instance_whose_gpu_is_gone_trains_nothing_and_is_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No job of a GPU pool is trained on the CPU for days, or failed for good: the group replaces the instance."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    jobs = [bench.submit(device=device) for device in ("auto", "cuda")]
    client: Any = boto3.client(
        "autoscaling", region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local"
    )
    with Stubber(client) as stubber:
        instance = {"InstanceIds": ["i-1"], "AutoScalingGroupName": "group"}
        group = {"AutoScalingGroupName": "group", "MinSize": 0, "MaxSize": 2, "DesiredCapacity": 1}
        group |= {"DefaultCooldown": 300, "AvailabilityZones": [], "HealthCheckType": "EC2", "CreatedTime": 0}
        bounds: tuple[Any, Any] = ({"AutoScalingGroups": [group]}, {"AutoScalingGroupNames": ["group"]})
        stubber.add_response("describe_auto_scaling_groups", *bounds)
        stubber.add_response("set_instance_protection", {}, {**instance, "ProtectedFromScaleIn": True})
        stubber.add_response("describe_auto_scaling_groups", *bounds)
        ended = {"InstanceId": "i-1", "ShouldDecrementDesiredCapacity": False}
        stubber.add_response("terminate_instance_in_auto_scaling_group", {}, ended)
        machine = WorkerMachine("gpu-worker", "gpu", "i-1")
        reason = bench.worker(machine=machine, member=GroupMember(client, "group", "i-1"), retry_delay_s=60).run()
        stubber.assert_no_pending_responses()
    assert "PyTorch sees no GPU" in reason
    found = [bench.table.get(job_id) for job_id in jobs]
    assert [(job.status, job.num_failures) for job in found] == [("PENDING", 1)] * 2
    assert bench.num_messages() == 2
