from __future__ import annotations

import base64
import re
from typing import Any, Literal

import pytest

from infra.pools.user_data import LIFECYCLE_HOOK
from infra.pools.worker_pool import CHECKPOINT_S
from receipt_trainer.local.pulumi_program import Recording, Registration
from tests.infra.edits import stack

TEMPLATE, GROUP = "aws:ec2/launchTemplate:LaunchTemplate", "aws:autoscaling/group:Group"
ALARM, POLICY = "aws:cloudwatch/metricAlarm:MetricAlarm", "aws:autoscaling/policy:Policy"
Market = Literal["spot", "on_demand"]


def recorded(market: Market = "spot", **other: Any) -> Recording:
    chosen = {"instance_types": ["g5.xlarge", "g6.xlarge"], "max_instances": 5, "on_demand_base": 1, "market": market}
    return stack(pools={"gpu": chosen | other}, tags={"Team": "a b"}, network={"nat": "none"})


def template(market: Market = "spot") -> dict[str, Any]:
    return recorded(market).one("gpu-template", TEMPLATE).inputs


def group(market: Market = "spot") -> Registration:
    return recorded(market).one("gpu-group", GROUP)


def test_the_image_is_resolved_at_launch() -> None:
    """A finished bake reaches the next instance without `pulumi up`."""
    assert template()["imageId"] == "resolve:ssm:/imagebuilder/receipt-trainer/dev/worker-image"


def test_metadata_needs_a_token_and_does_not_leave_the_instance() -> None:
    """IMDSv2 only, one hop; no tags in it: with them, EC2 refuses to launch with a tag key that holds a space."""
    assert template()["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
        "instanceMetadataTags": "disabled",
    }


def test_nothing_of_an_instance_outlives_it() -> None:
    """A shutdown ends the instance; its encrypted root volume and its interface, without public address, go with it."""
    inputs = template()
    assert inputs["instanceInitiatedShutdownBehavior"] == "terminate"
    (root,) = inputs["blockDeviceMappings"]
    assert root["deviceName"] == "/dev/xvda"
    assert root["ebs"] == {"volumeType": "gp3", "volumeSize": 150, "encrypted": "true", "deleteOnTermination": "true"}
    (interface,) = inputs["networkInterfaces"]
    assert interface["associatePublicIpAddress"] == "false"
    assert interface["deleteOnTermination"] == "true"
    assert interface["securityGroups"] == ["network-groups-worker-id"]
    assert "keyName" not in inputs


def test_instance_and_volume_carry_the_tags() -> None:
    """Cost is found by tag: also that of the volume, which the group does not tag."""
    by_kind = {tagged["resourceType"]: tagged["tags"] for tagged in template()["tagSpecifications"]}
    assert by_kind.keys() == {"instance", "volume"}
    for tags in by_kind.values():
        assert tags["Project"] == "receipt-trainer"
        assert tags["Pool"] == "gpu"
        assert tags["Team"] == "a b"
    assert {tag["key"]: tag["value"] for tag in group().inputs["tags"]} == by_kind["instance"]
    assert all(tag["propagateAtLaunch"] for tag in group().inputs["tags"])


def test_the_template_holds_the_rendered_text() -> None:
    """Base64 of a shell script, which test_boot.py looks into."""
    assert base64.b64decode(template()["userData"]).startswith(b"#!/bin/bash\n")


def test_the_version_of_the_template_is_pinned() -> None:
    """`$Latest` would hide a new version from a preview."""
    chosen = group().inputs["mixedInstancesPolicy"]["launchTemplate"]["launchTemplateSpecification"]
    assert re.fullmatch(r"[0-9]+", chosen["version"])
    assert chosen["launchTemplateId"] == "gpu-template-id"


@pytest.mark.parametrize(("market", "percentage"), [("spot", 0), ("on_demand", 100)])
def test_the_market_decides_how_instances_above_the_base_are_bought(market: Market, percentage: int) -> None:
    """Several types, cheap and likely to last; the base is on demand on either market."""
    policy = group(market).inputs["mixedInstancesPolicy"]
    assert policy["instancesDistribution"] == {
        "onDemandBaseCapacity": 1,
        "onDemandPercentageAboveBaseCapacity": percentage,
        "onDemandAllocationStrategy": "lowest-price",
        "spotAllocationStrategy": "price-capacity-optimized",
    }
    types = [override["instanceType"] for override in policy["launchTemplate"]["overrides"]]
    assert types == ["g5.xlarge", "g6.xlarge"]


@pytest.mark.parametrize("wanted", [False, True])
def test_instances_are_replaced_at_a_recommendation_only_if_asked_for(wanted: bool) -> None:
    """`capacity_rebalance` reaches the group as it is set."""
    found = recorded(capacity_rebalance=wanted).one("gpu-group", GROUP)
    assert found.inputs["capacityRebalance"] is wanted


def test_nothing_ends_a_busy_instance_but_the_market() -> None:
    """Protected from scale-in, zones are not balanced, no refresh, no policy that takes instances away."""
    inputs = group().inputs
    assert inputs["protectFromScaleIn"] is True
    assert inputs["suspendedProcesses"] == ["AZRebalance"]
    assert not inputs.keys() & {"instanceRefresh", "maxInstanceLifetime", "targetGroupArns"}
    for policy in recorded().of_type(POLICY):
        assert policy.inputs["policyType"] == "StepScaling"
        assert all(step["scalingAdjustment"] > 0 for step in policy.inputs["stepAdjustments"])


def test_the_checkpoint_hook_is_there_before_the_first_instance() -> None:
    """Part of the group's creation; when nobody answers in time, the instance goes."""
    assert group().inputs["initialLifecycleHooks"] == [
        {
            "name": LIFECYCLE_HOOK,
            "lifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
            "heartbeatTimeout": CHECKPOINT_S,
            "defaultResult": "CONTINUE",
        }
    ]
    assert (LIFECYCLE_HOOK, CHECKPOINT_S) == ("checkpoint", 300)


def test_pulumi_neither_waits_for_capacity_nor_sets_it() -> None:
    """`pulumi up` returns on a day without spot capacity, leaves running workers alone, and `destroy` does not hang."""
    found = group()
    assert found.inputs["waitForCapacityTimeout"] == "0"
    assert "desiredCapacity" not in found.inputs
    assert "desiredCapacity" in found.ignore_changes
    assert found.inputs["forceDelete"] is True
    assert found.inputs["name"] == "receipt-trainer-dev-workers-gpu"
    assert (found.inputs["minSize"], found.inputs["maxSize"]) == (0, 5)


def test_the_group_says_what_the_alarm_and_the_dashboard_read() -> None:
    """A group sends no metrics unless asked, and the alarm would be silent for ever."""
    assert {"GroupDesiredCapacity", "GroupInServiceInstances", "GroupPendingInstances", "GroupMaxSize"} <= set(
        group().inputs["enabledMetrics"]
    )
    assert group().inputs["metricsGranularity"] == "1Minute"


def test_two_pools_stand_side_by_side() -> None:
    """Names differ by pool: no resource of one is registered for the other."""
    assert {found.inputs["name"] for found in recorded().of_type(GROUP)} == {
        "receipt-trainer-dev-workers-gpu",
        "receipt-trainer-dev-workers-cpu",
    }
    for pool in ("gpu", "cpu"):
        queries = recorded().one(f"{pool}-scaling-backlog", ALARM).inputs["metricQueries"]
        queues = {query["metric"]["dimensions"].get("QueueName", "") for query in queries if "metric" in query} - {""}
        assert {name.rpartition("-")[0] for name in queues} == {f"jobs-{pool}-high", f"jobs-{pool}-normal"}
