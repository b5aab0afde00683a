"""What the scheduled function calls, on the wire, against the policy of its role."""

from __future__ import annotations

import dataclasses
import json
import os
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import pytest

from infra.iam import document
from infra.watch.silent_instances import role_statements
from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.contract import waiting
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.submit import new_job
from tests.fault_proxy import FaultProxy
from tests.infra.iam_program import HERE, group
from tests.infra.looks import HANDLER, MINUTE, direct
from tests.infra.pool_cloud import PoolCloud
from tests.infra.requests_seen import Calls
from tests.queues import new_queue

LOGS: Final = f"arn:aws:logs:{HERE}:log-group:/receipt-trainer/dev/some"
_LAMBDA: Final = "what Lambda itself writes"


def table_arn(name: str) -> str:
    return f"arn:aws:dynamodb:{HERE}:table/{name}"


def queue() -> str:
    return new_queue(f"{uuid4().hex}-1111111", direct("sqs"))


def test_the_function_may_what_it_does_and_no_more(
    pool: PoolCloud, jobs_table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs in which all happens that can: boots without a word are ended until the pool rests, a job without a
    message gets one, one whose queue is gone moves, a notice is sent. Its role allows each call, and nothing
    else."""
    ids = pool.make(3)
    began = datetime.now(UTC) - 120 * MINUTE
    url, topic = queue(), direct("sns").create_topic(Name=f"notices-{uuid4().hex[:8]}")["TopicArn"]
    table = JobTable(direct("dynamodb"), jobs_table, clock=lambda: began)
    for of in (url, url.replace("-1111111.", "-2222222.")):  # before the stack was taken down and came back
        job = new_job(LayoutLMJob(job_name="a", model="tiny"), of)
        table.create(dataclasses.replace(job, pool="gpu"))
    table.create(Job("done", "done", "PENDING", queue_url=url, spec={"notify": True}))
    table.cancel("done")
    rules = {"silent_instances": dataclasses.asdict(pool.rules(HANDLER, second_look_s=0, boot_limit_s=-1))}
    rules["waiting_jobs"] = {"table": jobs_table, "queues": {"gpu": {"normal": url}}}
    rules["notices"] = {"table": jobs_table, "topic": topic, "stack": "dev"}
    monkeypatch.setenv("RULES", json.dumps(rules))
    monkeypatch.setattr(waiting, "APART_S", 0)
    with FaultProxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        calls = Calls(proxy, group=pool.name)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        first, second = HANDLER.handle({}, None), HANDLER.handle({}, None)
    assert (set(first["marked"]), set(second["ended"]), first["notified"]) == (set(ids), set(ids), ["done"])
    assert (len(first["sent"]), len(first["moved"])) == (1, 1)
    statements = role_statements(
        [group(pool.name).replace("11111111-2222", "*")],
        instances=table_arn(pool.table),
        jobs=table_arn(jobs_table),
        queues=[f"arn:aws:sqs:{HERE}:{url.rpartition('/')[2]}"],
        topic=topic,
        log_group=LOGS,
    )
    logs = [("WriteLogs", "logs:CreateLogStream"), ("WriteLogs", "logs:PutLogEvents")]
    calls.check(document(statements), dict.fromkeys(logs, _LAMBDA))
