from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from receipt_trainer.aws.autoscaling import GroupMember
from receipt_trainer.worker.interruptions import Advice
from receipt_trainer.worker.loop import STOPPED
from tests.worker.bench import Bench

NAMED = {"AutoScalingGroupNames": ["group"]}


def bounds(maximum: int) -> dict[str, Any]:
    group = {"AutoScalingGroupName": "group", "MinSize": 0, "MaxSize": maximum, "DesiredCapacity": maximum}
    group |= {"DefaultCooldown": 300, "AvailabilityZones": [], "HealthCheckType": "EC2", "CreatedTime": 0}
    return {"AutoScalingGroups": [group]}


@pytest.fixture
def client() -> Any:
    return boto3.client("autoscaling", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


def test_a_worker_of_a_stopped_pool_ends_its_job_and_begins_no_other(bench: Bench, client: Any) -> None:
    """The pool is stopped while the first job trains: it succeeds, the second waits in the queue at once."""
    first, second = bench.submit(), bench.submit()
    instance = {"InstanceIds": ["i-1"], "AutoScalingGroupName": "group"}
    with Stubber(client) as stubber:
        stubber.add_response("describe_auto_scaling_groups", bounds(1), NAMED)
        stubber.add_response("set_instance_protection", {}, {**instance, "ProtectedFromScaleIn": True})
        stubber.add_response("describe_auto_scaling_groups", bounds(0), NAMED)
        ended = {"InstanceId": "i-1", "ShouldDecrementDesiredCapacity": False}
        stubber.add_response("terminate_instance_in_auto_scaling_group", {}, ended)
        assert bench.worker(member=GroupMember(client, "group", "i-1")).run() == STOPPED
        stubber.assert_no_pending_responses()
    jobs = {bench.table.get(job_id).status for job_id in (first, second)}
    assert jobs == {"SUCCEEDED", "PENDING"}
    assert bench.queue.receive(1) is not None


def test_a_group_that_cannot_be_asked_is_not_taken_for_stopped(client: Any) -> None:
    """A fault of AWS, or a right that lacks, holds up no job."""
    with Stubber(client) as stubber:
        stubber.add_client_error("describe_auto_scaling_groups", "AccessDenied", "no")
        assert not GroupMember(client, "group", "i-1").is_stopped()


def test_an_idle_worker_goes_at_a_recommendation_and_is_not_replaced(bench: Bench, client: Any) -> None:
    """No job waits: its group's desired capacity goes down with it. A job that does wait is trained first."""
    job_id = bench.submit()
    instance = {"InstanceIds": ["i-1"], "AutoScalingGroupName": "group"}
    with Stubber(client) as stubber:
        stubber.add_response("describe_auto_scaling_groups", bounds(1), NAMED)
        stubber.add_response("set_instance_protection", {}, {**instance, "ProtectedFromScaleIn": True})
        stubber.add_response("set_instance_protection", {}, {**instance, "ProtectedFromScaleIn": False})
        ended = {"InstanceId": "i-1", "ShouldDecrementDesiredCapacity": True}
        stubber.add_response("terminate_instance_in_auto_scaling_group", {}, ended)
        worker = bench.worker(member=GroupMember(client, "group", "i-1"), idle_timeout_s=600)
        worker.advise(Advice("rebalance recommendation of now"))
        assert worker.run() == "idle at a rebalance recommendation of now"
        stubber.assert_no_pending_responses()
    assert bench.table.get(job_id).status == "SUCCEEDED"
