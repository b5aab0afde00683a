"""The function that ends silent instances, on real groups, instances and tables of the embedded AWS."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.functions.silent_instances import waiting_jobs
from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.contract import liveness, metrics, waiting, waiting_calls
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.submit import new_job
from tests.fault_proxy import FaultProxy
from tests.infra.looks import HANDLER, MINUTE, direct, look, make_client, refuse, with_answers
from tests.infra.pool_cloud import PoolCloud
from tests.queues import new_queue


def test_silent_instances_are_ended_and_no_others(pool: PoolCloud) -> None:
    """One that stopped beating and one that never began are ended at the second look, protected as they are; one that
    beats, with a job or without, stays, and the group asks for two fewer."""
    busy, idle, silent, mute = pool.make(4)
    began = pool.launched_at(mute)
    for one in (busy, idle, silent):
        pool.beat(one, began + MINUTE, training=one != idle)
    assert look(pool, began + 10 * MINUTE) == {"marked": [], "ended": []}  # all of them heard of, or young
    for at, expected in ((46, "marked"), (47, ""), (51, "ended"), (56, "")):
        for one in (busy, idle):
            pool.beat(one, began + at * MINUTE, training=one == busy)
        found = look(pool, began + at * MINUTE + timedelta(seconds=30))
        assert {kind for kind, ids in found.items() if ids} == ({expected} if expected else set())
        assert set(found["marked"] + found["ended"]) == ({silent, mute} if expected else set())
        assert set(pool.instances()) == ({busy, idle} if at > 50 else {busy, idle, silent, mute})
    assert (pool.group()["DesiredCapacity"], pool.group()["MinSize"]) == (2, 0)
    assert [pool.is_up(one) for one in (busy, idle, silent, mute)] == [True, True, False, False]


def test_the_row_says_why(pool: PoolCloud) -> None:
    """Who was ended stands in the table with reason and time for a week; it was counted, and a boot that never said
    anything counts as a failed one, but not a worker that stopped."""
    silent, mute = pool.make(2)
    began = pool.launched_at(mute)
    pool.beat(silent, began)
    look(pool, began + 46 * MINUTE)
    assert pool.row(mute)["status"] == liveness.STATUS_SILENT
    assert pool.row(silent)["status"] == "RUNNING"
    now = began + 51 * MINUTE
    look(pool, now)
    rows = [pool.row(one) for one in (silent, mute)]
    assert {row["status"] for row in rows} == {liveness.STATUS_LOST}
    assert rows[0]["reason"].startswith("ended by the stack: last heard of at ")
    assert rows[1]["reason"].startswith("ended by the stack: launched at ")
    assert {row["ended_at"] for row in rows} == {f"{now:%FT%TZ}"}
    assert {row["expires_at"] for row in rows} == {int(now.timestamp()) + 7 * 86_400}
    assert rows[0]["job_id"] == "a-job"
    assert pool.num_boot_failures() == 1
    found = direct("cloudwatch").list_metrics(Namespace=metrics.NAMESPACE, MetricName=metrics.SILENT_INSTANCES)
    dimensions = [{one["Name"]: one["Value"] for one in metric["Dimensions"]} for metric in found["Metrics"]]
    assert metrics.dimensions(pool.name, "gpu") in dimensions


def test_who_beats_again_stays(pool: PoolCloud) -> None:
    """When nobody could write for an hour all are marked, and none is ended that beats once before the next look."""
    one, other = pool.make(2)
    began = pool.launched_at(one)
    for each in (one, other):
        pool.beat(each, began)
    assert set(look(pool, began + 60 * MINUTE)["marked"]) == {one, other}
    pool.beat(one, began + 61 * MINUTE)
    assert look(pool, began + 65 * MINUTE)["ended"] == [other]
    assert "silent_since" not in pool.row(one)


def test_a_wrong_clock_ends_nobody_who_beats(pool: PoolCloud) -> None:
    """Clocks that are hours ahead or behind are strange, but every beat takes the mark away; when the beats stop, the
    clock does not save the instance."""
    ahead, behind = pool.make(2)
    began = pool.launched_at(ahead)
    for at in range(0, 60, 20):
        pool.beat(ahead, began + at * MINUTE + timedelta(hours=9))
        pool.beat(behind, began + at * MINUTE - timedelta(hours=9))
        assert set(look(pool, began + at * MINUTE)["marked"]) == {ahead, behind}
    assert set(look(pool, began + 60 * MINUTE)["ended"]) == {ahead, behind}


def test_a_beat_between_reading_and_ending_counts(pool: PoolCloud) -> None:
    """The row is written on the condition that it is as it was read: a worker that beat in between is left alone."""
    [one] = pool.make(1)
    began = pool.launched_at(one)
    pool.beat(one, began)
    look(pool, began + 20 * MINUTE)

    def late(service: str) -> Any:
        client = make_client.__wrapped__(service, None)  # with an event of its own
        if service == "dynamodb":
            client.meta.events.register(
                "before-call.dynamodb.UpdateItem", lambda **_: pool.beat(one, began + 25 * MINUTE)
            )
        return client

    assert look(pool, began + 25 * MINUTE, late) == {"marked": [], "ended": []}
    assert pool.row(one)["status"] == "RUNNING"
    assert pool.is_up(one)


@pytest.mark.parametrize("kind", ["throttled", "unprocessed"])
def test_a_table_that_cannot_be_read_ends_nobody(pool: PoolCloud, fault_proxy: FaultProxy, kind: str) -> None:
    """Whether DynamoDB refuses or leaves keys unprocessed for ever: the look fails, and every instance stays."""
    ids = pool.make(3)
    began = pool.launched_at(ids[0])
    for one in ids:
        pool.beat(one, began)
    look(pool, began + 20 * MINUTE)
    answers: dict[str, tuple[int, dict[str, Any]]] = {
        "throttled": (400, {"__type": "x#ThrottlingException", "message": "Rate exceeded"}),
        "unprocessed": (200, {"Responses": {}, "UnprocessedKeys": {}}),
    }

    def rule(name: str, count: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        if name != "BatchGetItem":
            return None
        status, answer = answers[kind]
        return status, answer | ({"UnprocessedKeys": body["RequestItems"]} if kind == "unprocessed" else {})

    fault_proxy.rule = rule
    fault_proxy.calls.clear()
    with pytest.raises((ClientError, RuntimeError), match=r"Rate exceeded|unprocessed 5 times"):
        look(pool, began + 25 * MINUTE)
    assert fault_proxy.calls["BatchGetItem"] == (1 if kind == "throttled" else 5)
    assert fault_proxy.calls["UpdateItem"] == 0
    assert set(pool.instances()) == set(ids)
    assert all(pool.is_up(one) for one in ids)


def test_what_dynamodb_left_over_is_read_before_anyone_is_judged(pool: PoolCloud, fault_proxy: FaultProxy) -> None:
    """An answer without an instance's row but with its key unprocessed does not make it one that never registered."""
    ids = pool.make(2)
    began = pool.launched_at(ids[0])
    now = began + 60 * MINUTE
    for one in ids:
        pool.beat(one, now)
    fault_proxy.rule = lambda name, count, body: (
        (200, {"Responses": {}, "UnprocessedKeys": body["RequestItems"]})
        if name == "BatchGetItem" and count < 3
        else None
    )
    assert look(pool, now) == {"marked": [], "ended": []}
    assert fault_proxy.calls["BatchGetItem"] == 3


def test_after_three_boots_without_a_word_the_pool_rests(pool: PoolCloud) -> None:
    """Instances that never register are counted as failed boots: at the third the group launches no more."""
    ids = pool.make(3)
    began = pool.launched_at(ids[-1])
    look(pool, began + 46 * MINUTE)
    assert pool.group()["SuspendedProcesses"] == []
    assert set(look(pool, began + 51 * MINUTE)["ended"]) == set(ids)
    assert pool.num_boot_failures() == 3
    assert [one["ProcessName"] for one in pool.group()["SuspendedProcesses"]] == ["Launch"]


def test_a_boot_that_said_that_it_failed_is_counted_once(pool: PoolCloud) -> None:
    """The boot script counted it; what it wrote as its reason is kept."""
    [one] = pool.make(1)
    began = pool.launched_at(one)
    row = {"PK": {"S": f"INSTANCE#{one}"}, "SK": {"S": "INSTANCE"}, "status": {"S": "BOOT_FAILED"}}
    row |= {"at": {"S": f"{began:%FT%TZ}"}, "reason": {"S": "boot failed: step=install"}}
    direct("dynamodb").put_item(TableName=pool.table, Item=row)
    assert look(pool, began + 20 * MINUTE)["marked"] == [one]
    assert look(pool, began + 25 * MINUTE)["ended"] == [one]
    assert pool.num_boot_failures() == 0
    assert pool.row(one)["reason"].endswith("before that: boot failed: step=install")


def test_a_person_can_keep_a_silent_instance(pool: PoolCloud) -> None:
    """An instance in standby is not looked at."""
    [one] = pool.make(1)
    direct("autoscaling").enter_standby(
        InstanceIds=[one], AutoScalingGroupName=pool.name, ShouldDecrementDesiredCapacity=True
    )
    began = pool.launched_at(one)
    for at in (60, 70):
        assert look(pool, began + at * MINUTE) == {"marked": [], "ended": []}


class Group:
    """Stands in for a group in states, and with answers, that the embedded AWS does not have."""

    def __init__(self, states: list[str], refusal: str | None = None) -> None:
        self.states, self.refusal, self.ended, self.num_asked = states, refusal, list[tuple[str, bool]](), 0

    def get_paginator(self, name: str) -> Any:
        return self

    def paginate(self, **_: Any) -> Any:
        members = [{"InstanceId": f"i-{at}", "LifecycleState": state} for at, state in enumerate(self.states)]
        group = {"AutoScalingGroupName": "workers", "Instances": members}
        return SimpleNamespace(search=lambda what: {"AutoScalingGroups[]": [group]}[what])

    def terminate_instance_in_auto_scaling_group(self, **asked: Any) -> None:
        decrement = asked["ShouldDecrementDesiredCapacity"]
        self.num_asked += 1
        if decrement and self.refusal:
            error = {"Code": "ValidationError", "Message": self.refusal}
            raise ClientError({"Error": error}, "TerminateInstanceInAutoScalingGroup")
        self.ended.append((asked["InstanceId"], decrement))


def test_only_who_is_in_service_or_booting_is_looked_at() -> None:
    """Whom the group is ending already, and who waits in its lifecycle hook, is left alone."""
    states = ["InService", "Pending", "Terminating", "Terminating:Wait", "Terminating:Proceed", "Terminated", "Standby"]
    found = HANDLER._members(Group(states), {"gpu": "workers"})
    assert [(one.pool, one.group, one.instance_id) for one in found] == [
        ("gpu", "workers", "i-0"),
        ("gpu", "workers", "i-1"),
    ]


def test_a_group_at_its_minimum_gets_another_instance() -> None:
    """AWS refuses to go below the minimum: then the instance is replaced. Any other refusal is a fault."""
    one = HANDLER.PoolInstance("gpu", "workers", "i-0")
    group = Group([], "desiredSize equals minSize (1). Terminating instance without replacement will violate group's")
    HANDLER._end(group, one)
    assert group.ended == [("i-0", False)]
    gone = "Instance Id not found - No managed instance found for instance ID: i-0. Terminating is for members alone"
    refusing = Group([], gone)
    with pytest.raises(ClientError):
        HANDLER._end(refusing, one)
    assert refusing.num_asked == 1


TEXTS = st.text(max_size=30) | st.datetimes().map(str) | st.datetimes(timezones=st.just(UTC)).map(str)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["heartbeat_at", "at", "status", "silent_since"]), TEXTS),
    st.none() | st.datetimes(min_value=datetime(2026, 1, 1), timezones=st.just(UTC)),
)
def test_any_row_is_judged(row: dict[str, str], launched_at: datetime | None) -> None:
    """Whatever stands in a row, an instance is silent or not; without row and launch it is not."""
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    rules = PoolCloud(direct).rules(HANDLER)
    why = HANDLER.reason(rules, row, launched_at, now)
    assert why is None or "the limit is" in why or "no heartbeat in" in why
    if not row.get("heartbeat_at") and not row.get("at") and launched_at is None:
        assert why is None


def test_an_end_that_fails_is_tried_again_and_counted_once(pool: PoolCloud) -> None:
    """While the group refuses, the row says LOST and why, once; the boot is counted once, at once; each later look
    tries again, and when the group ends the instance nothing is counted twice."""
    [one] = pool.make(1)
    began = pool.launched_at(one)
    look(pool, began + 46 * MINUTE)
    refusing = with_answers("autoscaling", terminate_instance_in_auto_scaling_group=refuse("Throttling"))
    reasons = set()
    for at in (51, 56, 61):
        with pytest.raises(RuntimeError, match="Throttling"):
            look(pool, began + at * MINUTE, refusing)
        assert pool.num_boot_failures() == 1
        reasons.add(pool.row(one)["reason"])
    assert len(reasons) == 1
    assert "before that" not in reasons.pop()
    assert look(pool, began + 66 * MINUTE)["ended"] == [one]
    assert pool.num_boot_failures() == 1


def test_a_metric_that_cannot_be_written_is_no_fault_of_the_look(
    pool: PoolCloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """The instance is ended and its boot counted; the log says that the metric lacks."""
    [one] = pool.make(1)
    began = pool.launched_at(one)
    look(pool, began + 46 * MINUTE)
    refusing = with_answers("cloudwatch", put_metric_data=refuse("Throttling"))
    assert look(pool, began + 51 * MINUTE, refusing)["ended"] == [one]
    assert (pool.instances(), pool.num_boot_failures()) == ([], 1)
    assert '"event": "it was not counted"' in capsys.readouterr().out


def test_two_looks_at_once_end_an_instance_once(pool: PoolCloud) -> None:
    """A second look that has read the same rows as one that ends instances ends and counts none of them again."""
    ids = pool.make(2)
    now = pool.launched_at(ids[0]) + 51 * MINUTE
    look(pool, now - 5 * MINUTE)
    ended: Counter[str] = Counter()

    def end(**asked: Any) -> None:
        ended[asked["InstanceId"]] += 1

    both = with_answers("autoscaling", terminate_instance_in_auto_scaling_group=end)
    first: list[dict[str, list[str]]] = []

    def read(**asked: Any) -> Any:
        answer = direct("dynamodb").batch_get_item(**asked)
        first.append(look(pool, now, both))
        return answer

    reading = with_answers("dynamodb", batch_get_item=read)
    second = look(pool, now + timedelta(seconds=1), lambda asked: (reading if asked == "dynamodb" else both)(asked))
    assert set(first[0]["ended"]) == set(ids)
    assert second == {"marked": [], "ended": []}
    assert (ended, pool.num_boot_failures()) == (Counter(ids), 2)


def test_the_entry_point_reads_its_rules_and_makes_each_client_once(
    pool: PoolCloud, jobs_table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Lambda calls marks silent instances, then ends them, and gives a job without a message one, by the rules in
    RULES, with one client a service. That notices cannot be read, as the table is gone, is said, and stops neither."""
    ids = pool.make(3)
    for one in ids:
        pool.beat(one, datetime.now(UTC) - 60 * MINUTE)
    rules = {"silent_instances": dataclasses.asdict(pool.rules(HANDLER, second_look_s=0))}
    url, job_id = forgotten_job(jobs_table)
    rules["waiting_jobs"] = {"table": jobs_table, "queues": {"cpu": {"normal": url}}}
    rules["notices"] = {"table": jobs_table, "topic": "arn:aws:sns:us-east-1:123456789012:none", "stack": "dev"}
    monkeypatch.setenv("RULES", json.dumps(rules))
    made: Counter[str] = Counter()
    real: Any = boto3.client

    def client(service: str, **given: Any) -> Any:
        made[service] += 1
        return real(service, **given)

    monkeypatch.setattr(boto3, "client", client)
    found = HANDLER.handle({}, None)
    assert (set(found["marked"]), found["ended"], found["notified"]) == (set(ids), [], [])
    assert (found["sent"], found["moved"], set(made.values())) == ([], [], {1})
    monkeypatch.setattr(waiting, "APART_S", 0)
    rules["notices"]["table"] = "no-such-table"
    monkeypatch.setenv("RULES", json.dumps(rules))
    with pytest.raises(RuntimeError, match=r"^notices: ResourceNotFoundException: "):
        HANDLER.handle({}, None)
    assert pool.instances() == []
    message = direct("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=0)["Messages"][0]
    assert json.loads(message["Body"])["job_id"] == job_id


def forgotten_job(table: str) -> tuple[str, str]:
    """A queue, and a job of an hour ago that has no message there."""
    sqs, dynamodb = direct("sqs"), direct("dynamodb")
    url = new_queue(sqs=sqs)
    an_hour_ago = datetime.now(UTC) - 60 * MINUTE
    job = new_job(LayoutLMJob(job_name="a", model="tiny"), url)
    return url, JobTable(dynamodb, table, clock=lambda: an_hour_ago).create(job).job_id


def test_a_silent_look_that_fails_stops_no_look_at_queues(
    pool: PoolCloud, jobs_table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the instances table gone the queues are looked at all the same; the run fails by name."""
    pool.beat(pool.make(1)[0], datetime.now(UTC) - 60 * MINUTE)
    url, _ = forgotten_job(jobs_table)
    rules = {
        "silent_instances": dataclasses.asdict(pool.rules(HANDLER, table="nowhere")),
        "waiting_jobs": {"table": jobs_table, "queues": {"cpu": {"normal": url}}},
        "notices": {"table": jobs_table, "topic": "arn:aws:sns:us-east-1:123456789012:none", "stack": "dev"},
    }
    monkeypatch.setenv("RULES", json.dumps(rules))
    with pytest.raises(RuntimeError, match=r"^silent_instances: ResourceNotFoundException: [^;]*$"):
        HANDLER.handle({}, None)
    assert len(waiting_calls.read_looks(direct("dynamodb"), jobs_table)) == 1


def test_a_fault_of_one_queue_is_the_runs(jobs_table: str) -> None:
    """A queue that is not there: the other one is looked at, and the run fails by name."""
    url, _ = forgotten_job(jobs_table)
    rules = waiting_jobs.QueueRules(jobs_table, {"cpu": {"high": f"{url}-gone", "normal": url}})
    with pytest.raises(RuntimeError, match=r"cpu-high: .*NonExistentQueue"):
        waiting_jobs.look(rules, direct, datetime.now(UTC))
    assert len(waiting_calls.read_looks(direct("dynamodb"), jobs_table)) == 1
