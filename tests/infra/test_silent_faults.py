"""The function that ends silent instances, where AWS refuses something, where two looks meet, and as it is called."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from infra.functions.silent_instances import waiting_jobs
from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.contract import waiting, waiting_calls
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.submit import new_job
from tests.infra.looks import HANDLER, MINUTE, direct, look, refuse, with_answers
from tests.infra.pool_cloud import PoolCloud
from tests.queues import new_queue


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
