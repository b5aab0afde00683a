from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from infra.pools.scaling import BACKLOG_METRICS, EVALUATION_PERIODS, PERIOD_S, WARMUP_S, steps
from receipt_trainer.contract.outputs import PRIORITIES
from tests.infra.test_worker_pool import ALARM, POLICY, recorded


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
