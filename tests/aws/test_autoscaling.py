from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from receipt_trainer.aws.autoscaling import HOOK_ATTEMPTS, GroupMember
from receipt_trainer.errors import WorldError

GROUP, INSTANCE, HOOK = "receipt-trainer-dev-workers-gpu", "i-1", "checkpoint"
END = {"InstanceId": INSTANCE}
COMPLETE = {
    "LifecycleHookName": HOOK,
    "AutoScalingGroupName": GROUP,
    "LifecycleActionResult": "CONTINUE",
    "InstanceId": INSTANCE,
}
ACTIVITY: dict[str, Any] = {
    "Activity": {
        "ActivityId": "1",
        "AutoScalingGroupName": GROUP,
        "Cause": "asked",
        "StartTime": 0,
        "StatusCode": "InProgress",
    }
}


@pytest.fixture
def stubbed() -> Iterator[tuple[Any, Stubber]]:
    """A real client whose answers are checked against the service's own model of requests and responses."""
    client = boto3.client(
        "autoscaling", region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local"
    )
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def test_an_idle_instance_ends_itself_and_completes_its_hook(stubbed: tuple[Any, Stubber]) -> None:
    """The desired capacity goes down with it, and the hook that is not there yet is asked again until it is."""
    client, stubber = stubbed
    waits: list[float] = []
    stubber.add_response(
        "terminate_instance_in_auto_scaling_group", ACTIVITY, {**END, "ShouldDecrementDesiredCapacity": True}
    )
    stubber.add_client_error("complete_lifecycle_action", "ValidationError", "No active Lifecycle Action found")
    stubber.add_response("complete_lifecycle_action", {}, COMPLETE)
    assert GroupMember(client, GROUP, INSTANCE, hook=HOOK, sleep=waits.append).end(replace=False)
    assert len(waits) == 1


def test_the_last_instance_of_a_group_that_must_keep_it_stays(stubbed: tuple[Any, Stubber]) -> None:
    """A group at its least size refuses to shrink: the worker stays, and no hook is completed."""
    client, stubber = stubbed
    stubber.add_client_error(
        "terminate_instance_in_auto_scaling_group",
        "ValidationError",
        "Currently, desiredSize equals minSize (1). Terminating instance without replacement will violate group's min "
        "size constraint.",
    )
    assert not GroupMember(client, GROUP, INSTANCE, hook=HOOK).end(replace=False)


def test_an_instance_that_cannot_be_ended_says_so(stubbed: tuple[Any, Stubber]) -> None:
    """Any other refusal is a fault: the worker must not exit as if its instance were gone."""
    client, stubber = stubbed
    stubber.add_client_error("terminate_instance_in_auto_scaling_group", "ScalingActivityInProgress", "wait")
    with pytest.raises(WorldError, match="end the instance"):
        GroupMember(client, GROUP, INSTANCE).end(replace=True)


@pytest.mark.parametrize("replace", [False, True])
def test_an_instance_that_is_no_member_any_more_has_nothing_to_end(stubbed: tuple[Any, Stubber], replace: bool) -> None:
    """A worker whose instance was taken out of the group goes, and does not take the refusal for a group that must
    keep it: it would be idle, and beat, for ever."""
    client, stubber = stubbed
    stubber.add_client_error(
        "terminate_instance_in_auto_scaling_group",
        "ValidationError",
        "Instance Id not found - No managed instance found for instance ID: i-1",
    )
    assert GroupMember(client, GROUP, INSTANCE, hook=HOOK).end(replace=replace)


def test_a_hook_that_never_comes_is_given_up(stubbed: tuple[Any, Stubber]) -> None:
    """A bounded number of tries: the hook ends by its own time."""
    client, stubber = stubbed
    waits: list[float] = []
    for _ in range(HOOK_ATTEMPTS):
        stubber.add_client_error("complete_lifecycle_action", "ValidationError", "No active Lifecycle Action found")
    GroupMember(client, GROUP, INSTANCE, hook=HOOK, sleep=waits.append).complete_hook()
    assert len(waits) == HOOK_ATTEMPTS - 1


def test_protection_is_changed_only_when_it_changes(stubbed: tuple[Any, Stubber]) -> None:
    """One request a change; one that failed is made again."""
    client, stubber = stubbed
    group = {"InstanceIds": [INSTANCE], "AutoScalingGroupName": GROUP}
    stubber.add_client_error("set_instance_protection", "ResourceContention", "later")
    stubber.add_response("set_instance_protection", {}, {**group, "ProtectedFromScaleIn": True})
    stubber.add_response("set_instance_protection", {}, {**group, "ProtectedFromScaleIn": False})
    member = GroupMember(client, GROUP, INSTANCE)
    for wanted in (True, True, True, False, False):
        member.protect(wanted)
