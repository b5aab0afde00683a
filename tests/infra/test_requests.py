"""What a worker and the scheduled function call, on the wire, against the policies that the program has."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from infra.iam import document
from infra.watch.silent_instances import role_statements
from receipt_trainer.aws import clients
from receipt_trainer.aws.autoscaling import GroupMember
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.contract import names, waiting
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.dynamodb.write import import_receipts
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.queue import RENEW_AGE, SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.submit import new_job, submit
from receipt_trainer.worker.cloudwatch_metrics import Outcomes
from receipt_trainer.worker.interruptions import Interruption
from receipt_trainer.worker.log_forwarder import job_log
from receipt_trainer.worker.loop import Worker
from receipt_trainer.worker.registry import InstanceRegistry, WorkerMachine, spot_price_usd_per_h
from receipt_trainer.worker.settings import WorkerSettings
from tests.cli.jobs import Caller
from tests.doctor.conftest import Stood, stood
from tests.fault_proxy import FaultProxy
from tests.infra.iam_program import HERE, group
from tests.infra.looks import HANDLER, MINUTE, direct
from tests.infra.pool_cloud import PoolCloud
from tests.infra.requests_seen import Calls
from tests.job_rows import put_job
from tests.queues import new_queue
from tests.waiting import TIMEOUT_S, wait_for

__all__ = ["stood"]

ROOT = Path(__file__).resolve().parents[2]
POLICY = "aws:iam/rolePolicy:RolePolicy"
_SESSION, _BOOT, _BIG = "the agent of SSM sessions", "boot scripts and the CloudWatch agent", "an upload in parts"
EXPLAINED = {
    ("ArtifactsObjects", "s3:AbortMultipartUpload"): _BIG,
    ("ArtifactsObjects", "s3:ListMultipartUploadParts"): _BIG,
    ("ListLogStreams", "logs:DescribeLogStreams"): _BOOT,
    ("MountFiles", "elasticfilesystem:ClientMount"): "the mount of the instance",
    ("MountFiles", "elasticfilesystem:ClientWrite"): "the mount of the instance",
    ("OpenSessions", "ssmmessages:CreateControlChannel"): _SESSION,
    ("OpenSessions", "ssmmessages:CreateDataChannel"): _SESSION,
    ("OpenSessions", "ssmmessages:OpenControlChannel"): _SESSION,
    ("OpenSessions", "ssmmessages:OpenDataChannel"): _SESSION,
    ("OwnGroup", "autoscaling:SuspendProcesses"): "a boot that is the third in a row to fail",
    ("ReadDefaults", "ssm:GetParameter"): "submit-job in a session on an instance",
    ("ReadReceipts", "dynamodb:Scan"): "jobs that train on receipts without labels, too",
    ("ReadState", "dynamodb:DescribeTable"): "the look at the jobs table before a worker waits",
    ("RegisterAgent", "ssm:UpdateInstanceInformation"): _SESSION,
    ("TakeJobs", "sqs:GetQueueAttributes"): "submit-job in a session on an instance",
    ("WheelhouseList", "s3:ListBucket"): _BOOT,
    ("WheelhouseObjects", "s3:GetObject"): _BOOT,
    ("WriteLogs", "logs:CreateLogStream"): _BOOT,
    ("WriteLogs", "logs:PutLogEvents"): _BOOT,
}
"""(statement, action) that no call of a worker is -> who needs it. The worker's role is its instance's."""


@pytest.fixture
def proxy(stood: Stood, aws_cli: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Before the embedded AWS of a stack that stands; the environment's AWS."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_MAX_ATTEMPTS", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    with FaultProxy(stood.cloud.endpoint) as running:
        for name, value in (stood.cloud.environment() | {"AWS_ENDPOINT_URL": running.url}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv(names.ENV_AWS_CLI, str(aws_cli))
        yield running


def policy(stood: Stood, name: str) -> str:
    return str(stood.recording.one(name, POLICY).inputs["policy"])


def add_job(stood: Stood, **more: Any) -> str:
    """A job of one epoch on the receipts table, as a laptop submits it: not through the proxy."""
    spec = LayoutLMJob.model_validate(
        {
            "job_name": "a",
            "model": "tiny",
            "training_config": {"num_epochs": 1, "batch_size": 8, "precision": "fp32", "device": "cpu"},
            "data_config": {"dataset_name": "dynamodb", "examples": "line"},
            "resources": {"pool": "cpu"},
            "max_failures": 1,
        }
        | more
    )
    url = stood.outputs.pools["cpu"].queue_urls["normal"]
    table = JobTable(stood.cloud.client("dynamodb"), stood.outputs.jobs_table)
    return submit(new_job(spec, url), table, SqsQueue(stood.cloud.client("sqs"), url)).job_id


def make_worker(stood: Stood, folder: Path, **more: Any) -> Worker:
    """As `start-worker` makes it on an instance of the pool cpu."""
    outputs, pool = stood.outputs, stood.outputs.pools["cpu"]
    group = stood.cloud.client("autoscaling")
    group.set_desired_capacity(AutoScalingGroupName=pool.auto_scaling_group, DesiredCapacity=1)
    [found] = group.describe_auto_scaling_groups(AutoScalingGroupNames=[pool.auto_scaling_group])["AutoScalingGroups"]
    instance_id = found["Instances"][0]["InstanceId"]
    machine = WorkerMachine(f"{instance_id}-w", "cpu", instance_id, "c7i.xlarge", "us-east-1a", "spot", 0.1)
    settings = WorkerSettings(
        checkpoints_dir=folder / "checkpoints",
        jobs_table=outputs.jobs_table,
        receipts_table=outputs.receipts_table,
        artifacts_bucket=outputs.artifacts_bucket,
        poll_s=0,
        beat_s=0.5,
        idle_timeout_s=0.0,
        retry_delay_s=0,
    )
    dynamodb, sqs = clients.dynamodb(), clients.sqs()
    return Worker(
        settings,
        JobTable(dynamodb, settings.jobs_table),
        [SqsQueue(sqs, pool.queue_urls[priority]) for priority in ("high", "normal")],
        machine,
        registry=InstanceRegistry(dynamodb, outputs.instances_table, machine),
        member=GroupMember(clients.autoscaling(), pool.auto_scaling_group, instance_id, hook="checkpoint"),
        outcomes=Outcomes(clients.cloudwatch(), "dev", "cpu", price_usd_per_h=0.1),
        open_log=job_log(Table(dynamodb, settings.jobs_table)),
        **more,
    )


def test_a_worker_may_what_it_calls_and_no_more(
    stood: Stood, proxy: FaultProxy, training_command: tuple[str, ...], tmp_path: Path
) -> None:
    """Through its whole life: a message that is renewed, a job that is trained, with rows, files and log, one that
    fails, one that is interrupted by the group's hook, and the end of an idle worker's instance."""
    dynamodb = stood.cloud.client("dynamodb")
    import_receipts(stood.outputs.receipts_table, generate(9, 7), ProblemLog(), client=dynamodb)
    calls = Calls(proxy, stood.outputs.pools["cpu"].auto_scaling_group)
    trained = add_job(stood)
    worker = make_worker(stood, tmp_path, command=training_command, now=lambda: utc_now() + RENEW_AGE)
    worker.run()
    failed = add_job(stood, notify=True)
    make_worker(stood, tmp_path, command=(sys.executable, "-c", "raise SystemExit(1)")).run()
    interrupted = add_job(stood)
    asleep = (sys.executable, "-c", "import time; time.sleep(600)")
    worker = make_worker(stood, tmp_path, command=asleep)
    running = threading.Thread(target=worker.run, daemon=True)
    running.start()
    table = JobTable(stood.cloud.client("dynamodb"), stood.outputs.jobs_table)
    wait_for(lambda: table.get(interrupted).status in ("CLAIMED", "RUNNING"))
    worker.interrupt(Interruption("lifecycle", signal.Signals.SIGTERM.name))
    running.join(TIMEOUT_S)
    assert spot_price_usd_per_h("c7i.xlarge", "us-east-1a") is not None
    states = [table.get(job_id).status for job_id in (trained, failed, interrupted)]
    assert states == ["SUCCEEDED", "FAILED", "INTERRUPTED"]
    calls.check(policy(stood, "roles-worker-policy"), EXPLAINED)


def test_who_submits_jobs_needs_the_documented_policy_and_no_more(
    stood: Stood, proxy: FaultProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that docs/operations.md names for that person, with receipts put in, a job submitted with all that
    is looked at before, watched, cancelled and queued again, among jobs that have run."""
    call, saved, job = Caller(capsys), tmp_path / "outputs.json", tmp_path / "job.yaml"
    saved.write_text(stood.outputs.model_copy(update={"nat": "none"}).model_dump_json())
    job.write_text("family: layoutlm\njob_name: mine\nmodel: some/model\nresources: {pool: cpu}\n")
    (tmp_path / "r.jsonl").write_text("".join(to_line(receipt) for receipt in generate(2, 9)))
    group = stood.outputs.pools["cpu"].auto_scaling_group
    scaling = stood.cloud.client("autoscaling")
    scaling.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=0)  # whatever ran before
    calls = Calls(proxy, group)
    given = ("--outputs", saved)
    call.succeed("receipts", "import", *given, tmp_path / "r.jsonl")
    call.succeed("receipts", "stats", *given)
    call.succeed("training-defaults", *given)
    job_id = call.succeed("submit-job", *given, "--config", job, "--notify").out.strip()
    job.write_text(job.read_text().replace("some/model", names.WEIGHTS_PACKAGE))
    call.succeed("submit-job", *given, "--config", job, "--dry-run")
    for command in ("job-status", "job-details", "logs", "cancel", "retry"):
        call.succeed(command, *given, job_id)
    call.succeed("watch", *given, job_id, "--once")
    ran = {"attempt": 1, "created_at": "2026-11-20T12:00:00.000000Z"}
    put_job(stood.outputs.jobs_table, "one-that-ran", name="ran", status="FAILED", **ran)
    call.succeed("jobs", *given, "--limit", "50")
    call.succeed("instances", *given)
    [documented] = re.findall(r"```json\n(.*?)```", (ROOT / "docs/operations.md").read_text(), flags=re.DOTALL)
    calls.check(documented, {})


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
