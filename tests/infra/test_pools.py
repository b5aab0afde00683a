"""Worker pools: template, group, and scale-out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.pools.scaling import BACKLOG_METRICS, EVALUATION_PERIODS, PERIOD_S, WARMUP_S, steps
from infra.pools.user_data import LIFECYCLE_HOOK
from infra.pools.worker_pool import CHECKPOINT_S
from receipt_trainer.contract.outputs import PRIORITIES
from receipt_trainer.local.pulumi_program import Recording, Registration
from tests.infra.edits import stack

TEMPLATE, GROUP = "aws:ec2/launchTemplate:LaunchTemplate", "aws:autoscaling/group:Group"
ALARM, POLICY = "aws:cloudwatch/metricAlarm:MetricAlarm", "aws:autoscaling/policy:Policy"
Market = Literal["spot", "on_demand"]


def recorded(market: Market = "spot") -> Recording:
    chosen: dict[str, Any] = {
        "instance_types": ["g5.xlarge", "g6.xlarge"],
        "max_instances": 5,
        "on_demand_base": 1,
        "market": market,
    }
    chosen["capacity_rebalance"] = market == "on_demand"
    return stack(pools={"gpu": chosen}, tags={"Team": "a b"}, network={"nat": "none"})


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


def test_the_version_of_the_template_is_pinned() -> None:
    """`$Latest` would hide a new version from a preview."""
    chosen = group().inputs["mixedInstancesPolicy"]["launchTemplate"]["launchTemplateSpecification"]
    assert re.fullmatch(r"[0-9]+", chosen["version"])
    assert chosen["launchTemplateId"] == "gpu-template-id"


@pytest.mark.parametrize(("market", "percentage"), [("spot", 0), ("on_demand", 100)])
def test_the_market_decides_how_instances_above_the_base_are_bought(market: Market, percentage: int) -> None:
    """Several types, cheap and likely to last; the base is on demand on either market. `capacity_rebalance`, which the
    second of these stacks sets, reaches the group."""
    assert group(market).inputs["capacityRebalance"] is (market == "on_demand")
    policy = group(market).inputs["mixedInstancesPolicy"]
    assert policy["instancesDistribution"] == {
        "onDemandBaseCapacity": 1,
        "onDemandPercentageAboveBaseCapacity": percentage,
        "onDemandAllocationStrategy": "lowest-price",
        "spotAllocationStrategy": "price-capacity-optimized",
    }
    types = [override["instanceType"] for override in policy["launchTemplate"]["overrides"]]
    assert types == ["g5.xlarge", "g6.xlarge"]


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


def alarm_inputs() -> dict[str, Any]:
    return recorded().one("gpu-scaling-backlog", ALARM).inputs


def policy_inputs() -> dict[str, Any]:
    return recorded().one("gpu-scaling-out", POLICY).inputs


def alarm_queries() -> dict[str, dict[str, Any]]:
    return {query["id"]: query for query in alarm_inputs()["metricQueries"]}


def missing(waiting: Sequence[int], taken: Sequence[int], desired: int) -> float:
    """The alarm's value in a minute for which all is there, as CloudWatch reads its expressions.

    Args:
        waiting, taken: messages of each priority's queue.
    """
    queries = alarm_queries()
    known: dict[str, Any] = {"SUM": sum, "MIN": min, "FILL": lambda value, how: value, "REPEAT": None}
    known |= {f"waiting_{priority}": number for priority, number in zip(PRIORITIES, waiting, strict=True)}
    known |= {f"taken_{priority}": number for priority, number in zip(PRIORITIES, taken, strict=True)}
    known["desired"] = desired
    for name in ("waiting", "taken", "instances", "missing"):
        known[name] = eval(queries[name]["expression"], {"__builtins__": {}}, known)  # noqa: S307 - our own text
    return float(known["missing"])


def test_backlog_is_all_messages_less_the_instances_asked_for() -> None:
    """Every queue of the pool, waiting and taken; each name of the expression is a metric of the alarm, each minute."""
    queries = alarm_queries()
    assert [name for name, query in queries.items() if query["returnData"]] == ["missing"]
    metrics = {name: query["metric"] for name, query in queries.items() if "metric" in query}
    used = re.findall(r"FILL\((\w+), (\w+)\)", " ".join(query.get("expression", "") for query in queries.values()))
    assert {name for name, _ in used} == metrics.keys()
    assert {
        (m["metricName"], m["dimensions"]["QueueName"].rpartition("-")[0])
        for m in metrics.values()
        if m["namespace"] == "AWS/SQS"
    } == {(metric, f"jobs-gpu-{priority}") for metric in BACKLOG_METRICS.values() for priority in PRIORITIES}
    assert metrics["desired"]["metricName"] == "GroupDesiredCapacity"
    assert metrics["desired"]["dimensions"] == {"AutoScalingGroupName": "receipt-trainer-dev-workers-gpu"}
    assert all((metric["period"], metric["stat"]) == (60, "Maximum") for metric in metrics.values())
    # A late minute of the group counts as the one before it: as 0, every busy instance would get a twin.
    assert dict(used) == dict.fromkeys(metrics, "0") | {"desired": "REPEAT"}
    assert len(queries) <= 10  # what CloudWatch takes for one alarm


@given(st.lists(st.integers(0, 9), min_size=2, max_size=2), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_a_message_that_no_instance_has_asks_for_none(waiting: list[int], busy: int, idle: int, paused: int) -> None:
    """Busy instances have one each; one that is hidden for hours, until its run is delivered, is nobody's yet."""
    desired = busy + idle
    assert missing(waiting, [busy, 0], desired) == sum(waiting) + busy - desired
    assert missing([0, 0], [busy, paused], desired) <= 0
    assert sum(waiting) - idle <= missing(waiting, [busy, paused], desired) <= sum(waiting)


def test_an_alarm_on_backlog_adds_instances() -> None:
    """More than none missing is a breach; silence is none; the action is the policy of the same group."""
    alarm, policy = recorded().one("gpu-scaling-backlog", ALARM).inputs, recorded().one("gpu-scaling-out", POLICY)
    assert alarm["comparisonOperator"] == "GreaterThanThreshold"
    assert (alarm["threshold"], alarm["treatMissingData"]) == (0, "notBreaching")
    assert policy.urn in recorded().one("gpu-scaling-backlog", ALARM).dependencies
    assert len(alarm["alarmActions"]) == 1
    assert policy.inputs["autoscalingGroupName"] == "receipt-trainer-dev-workers-gpu"
    assert policy.inputs["adjustmentType"] == "ChangeInCapacity"
    bounds = {
        float(s["metricIntervalLowerBound"]): (s.get("metricIntervalUpperBound"), s["scalingAdjustment"])
        for s in policy.inputs["stepAdjustments"]
    }
    assert bounds == {0.0: ("2", 1), 2.0: ("4", 2), 4.0: (None, 4)}


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 3))
def test_minutes_that_arrive_late_do_not_silence_the_alarm(jobs: int, desired: int, num_late: int) -> None:
    """The alarm fires exactly when jobs outnumber instances, also when SQS's newest minutes are not there yet.

    As CloudWatch reads the expression: FILL makes 0 of such a minute, so the newest says "no jobs" whatever waits.
    """
    alarm, policy = (
        recorded().one("gpu-scaling-backlog", ALARM).inputs,
        recorded().one("gpu-scaling-out", POLICY).inputs,
    )
    minutes = [jobs] * (alarm["evaluationPeriods"] - num_late) + [0] * num_late
    short_of = [filled - desired for filled in minutes]
    breaching = sum(value > alarm["threshold"] for value in short_of)
    assert (breaching >= alarm["datapointsToAlarm"]) == (jobs > desired)
    # The policy is handed the largest of these minutes, and finds a step for it.
    assert policy["metricAggregationType"] == "Maximum"
    assert max(short_of) == jobs - desired


def test_a_launch_is_not_repeated_while_the_minutes_before_it_are_looked_at() -> None:
    """Until they have left the alarm's window, the new instances count as warming up."""
    policy = policy_inputs()
    assert policy["estimatedInstanceWarmup"] == WARMUP_S > EVALUATION_PERIODS * PERIOD_S


@given(st.integers(1, 10_000), st.integers(1, 100_000))
def test_a_step_adds_at_least_one_instance_and_never_more_than_jobs(max_instances: int, missing: int) -> None:
    """For any backlog exactly one step holds; it is at least half of what is missing, up to half of the maximum."""
    found = [
        add for lower, upper, add in steps(max_instances) if lower <= missing and (upper is None or missing < upper)
    ]
    assert len(found) == 1
    assert 1 <= found[0] <= min(missing, max_instances)
    assert found[0] * 2 > min(missing, max_instances)


@given(st.integers(1, 10_000))
def test_steps_leave_no_gap(max_instances: int) -> None:
    """AWS refuses gaps, overlaps and more than twenty steps ("Step scaling policies")."""
    found = steps(max_instances)
    assert found[0][0] == 0
    assert found[-1][1] is None
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert len(found) <= 20
