"""The calls that worker and function make, recorded on the wire, against the policies of their roles."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import boto3
import pytest

from infra import policies
from receipt_trainer.contract import waiting
from receipt_trainer.contract.job import JobSpec
from receipt_trainer.jobs.job_table import JobTable
from receipt_trainer.jobs.lifecycle import Job
from receipt_trainer.jobs.submit import new_job
from receipt_trainer.local.cloud import LocalCloud
from tests.infra.iam_program import ACCOUNT, REGION
from tests.infra.looks import HANDLER, MINUTE, direct
from tests.infra.policy_reading import allowed, listed
from tests.infra.pool_cloud import PoolCloud
from tests.infra.recorded_calls import Recorder, queue_arn, table_arn
from tests.worker.whole_job import Lab, WholeJob

PLACE: Final = policies.Place("aws", REGION, ACCOUNT)
LOGS: Final = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/receipt-trainer/dev/some"


def actions(statements: Sequence[policies.Statement], *services: str) -> set[str]:
    """Actions of some services that a policy allows."""
    found = {action for statement in statements for action in listed(statement["Action"])}
    return {action for action in found if action.partition(":")[0] in services}


def check(statements: Sequence[policies.Statement], recorder: Recorder) -> None:
    """Every request is allowed."""
    document = policies.document(statements)
    for request in recorder.requests:
        assert allowed(document, request.action, request.resource, request.context), request


def queue() -> str:
    made = direct("sqs").create_queue(QueueName=f"{uuid4().hex}-1111111.fifo", Attributes={"FifoQueue": "true"})
    return str(made["QueueUrl"])


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
        job = new_job(JobSpec(job_name="a", model="tiny"), of)
        table.create(dataclasses.replace(job, pool="gpu"))
    table.create(Job("done", "done", "PENDING", queue_url=url, spec={"notify": True}))
    table.cancel("done")
    rules = {"silent_instances": dataclasses.asdict(pool.rules(HANDLER, second_look_s=0, boot_limit_s=-1))}
    rules["waiting_jobs"] = {"table": jobs_table, "queues": {"gpu": {"normal": url}}}
    rules["notices"] = {"table": jobs_table, "topic": topic, "stack": "dev"}
    monkeypatch.setenv("RULES", json.dumps(rules))
    monkeypatch.setattr(waiting, "APART_S", 0)
    recorder, real = Recorder(), boto3.client
    recorder.groups = dict.fromkeys(ids, pool.name)
    monkeypatch.setattr(boto3, "client", lambda service, **given: recorder.attach(real(service, **given)))
    first, second = HANDLER.handle({}, None), HANDLER.handle({}, None)
    assert (set(first["marked"]), set(second["ended"]), first["notified"]) == (set(ids), set(ids), ["done"])
    assert (len(first["sent"]), len(first["moved"])) == (1, 1)
    statements = [
        *policies.silence_statements(PLACE, table_arn(pool.table), [pool.name], LOGS),
        *policies.waiting_statements(table_arn(jobs_table), [queue_arn(url)]),
        *policies.notice_statements(table_arn(jobs_table), topic),
    ]
    check(statements, recorder)
    services = ("autoscaling", "cloudwatch", "dynamodb", "ec2", "sns", "sqs")
    assert actions(statements, *services) == recorder.actions()


ELSEWHERE: Final = {
    "autoscaling:SuspendProcesses": "the boot script, after three failed boots",
    "dynamodb:DescribeTable": "the look at the jobs table before a worker waits",
    "dynamodb:Scan": "a training process that reads all receipts",
    "sqs:GetQueueAttributes": "the look at the queues before a worker waits",
    "sqs:SendMessage": "the renewal of a message",
}
"""Actions of the worker's role that no call of a plain job is, and who needs them."""


def test_a_worker_may_what_it_does_and_no_more(aws: LocalCloud, tmp_path: Path) -> None:
    """A whole job, from registration to the end of the instance: the role allows each call, on the worker's own queue,
    tables and group; what it allows besides is named here with its need."""
    lab, recorder = Lab(tmp_path), Recorder()
    for client in lab.wired.values():
        recorder.attach(client)
    job = WholeJob(lab)
    recorder.groups[job.instance_id] = job.name
    assert job.run() is None
    scope = policies.WorkerScope(
        receipts=table_arn("receipts"),
        jobs=table_arn(lab.jobs_table),
        instances=table_arn(lab.instances_table),
        artifacts="arn:aws:s3:::artifacts",
        wheels="arn:aws:s3:::wheels",
        queues=[queue_arn(job.queue_url)],
        file_system="arn:aws:elasticfilesystem:x",
        access_points=[],
        parameters=[],
        groups=[job.name],
        log_groups=[LOGS],
    )
    statements = policies.worker_statements(PLACE, scope)
    check(statements, recorder)
    mine = actions(statements, "autoscaling", "cloudwatch", "dynamodb", "sqs")
    assert mine - recorder.actions() == set(ELSEWHERE)
    lab.close()
