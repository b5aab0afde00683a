"""`submit-job --notify`: what is stored, and what is said where nobody would hear of the job's end."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.local.emulator import LocalCloud
from tests.cli.jobs import Caller, Said
from tests.cli.test_stack import POOL, exported
from tests.queues import new_queue


class Stack:
    """A stack with a queue, a jobs table and a topic, and a job file for it."""

    def __init__(self, aws: LocalCloud, table: str, folder: Path) -> None:
        self.table, self._folder = table, folder
        self._urls = dict.fromkeys(("high", "normal"), new_queue())
        self.sns: Any = aws.client("sns")
        self.topic: str = self.sns.create_topic(Name=f"notices-{uuid4().hex[:8]}")["TopicArn"]

    def submit(self, call: Caller, *flags: str, job: str = "", **outputs: Any) -> Said:
        """Run the command with this in the job file and in the stack's outputs."""
        file, saved = self._folder / "job.yaml", self._folder / "outputs.json"
        file.write_text(f"job_name: a-job\nmodel: tiny\n{job}")
        said = exported("receipts") | {"jobs_table": self.table, "pools": {"gpu": POOL | {"queue_urls": self._urls}}}
        parameter = f"/training/{uuid4().hex}"
        clients.ssm().put_parameter(Name=parameter, Value="{}", Type="String")
        said |= {"training_parameter": parameter, "notices_topic_arn": self.topic} | outputs
        saved.write_text(json.dumps(said))
        return call("submit-job", "--config", str(file), "--outputs", str(saved), *flags)

    def notify_of(self, said: Said) -> Any:
        """What is stored with the job that was submitted."""
        assert said.code == 0, said.err
        return JobTable(clients.dynamodb(), self.table).get(said.out.strip()).spec.get("notify")


@pytest.fixture
def stack(aws: LocalCloud, jobs_table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    for name in ("INSTANCE_REGISTRY_TABLE_NAME", "DYNAMO_TABLE_NAME", "ARTIFACTS_BUCKET"):
        monkeypatch.setenv(name, "")
    return Stack(aws, jobs_table, tmp_path)


@pytest.mark.parametrize(
    ("flags", "job", "default", "stored"),
    [
        ((), "", True, True),
        ((), "notify: false\n", True, False),
        (("--notify",), "notify: false\n", False, True),
        (("--no-notify",), "notify: true\n", True, False),
    ],
)
def test_the_flag_wins_over_the_file_and_the_file_over_the_stack(
    call: Caller, stack: Stack, flags: tuple[str, ...], job: str, default: bool, stored: bool | None
) -> None:
    """What is stored with the job is what its end goes by; a job that nobody asked for a notice says nothing of it."""
    assert stack.notify_of(stack.submit(call, *flags, job=job, job_defaults={"notify": default})) is stored


def test_nobody_listens(call: Caller, stack: Stack) -> None:
    """Without a subscription, or with one that is not confirmed, one line says so, and the job is submitted."""
    said = stack.submit(call, "--notify")
    assert stack.notify_of(said) is True
    assert [line for line in said.err.splitlines() if "notice" in line] == [
        "no notice will arrive: no address is subscribed; set notify_email and run `pulumi up`"
    ]


def test_somebody_listens(call: Caller, stack: Stack) -> None:
    """With a confirmed subscription, and for a job without a notice, nothing is said."""
    assert "notice" not in stack.submit(call).err
    stack.sns.subscribe(TopicArn=stack.topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:any")
    assert "notice" not in stack.submit(call, "--notify").err


def test_who_has_not_confirmed_does_not_listen(call: Caller, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded AWS confirms every mail by itself; AWS says `PendingConfirmation` until the link was followed."""
    pending = {"SubscriptionArn": "PendingConfirmation", "Protocol": "email", "Endpoint": "ana@example.com"}
    pages = SimpleNamespace(paginate=lambda **asked: [{"Subscriptions": [pending]}])
    monkeypatch.setattr(clients, "brief", lambda service: SimpleNamespace(get_paginator=lambda operation: pages))
    said = stack.submit(call, "--notify")
    assert "no notice will arrive: ana@example.com has not confirmed; the link is in a mail of AWS\n" in said.err
    assert stack.notify_of(said) is True


def test_a_topic_that_cannot_be_asked_stops_no_job(call: Caller, stack: Stack) -> None:
    """A topic that is not there, as without the right to read it: one line, and the job is submitted. An older stack
    has none."""
    said = stack.submit(call, "--notify", notices_topic_arn=f"{stack.topic}-gone")
    assert stack.notify_of(said) is True
    (line,) = [line for line in said.err.splitlines() if "notice" in line]
    assert line.startswith("see who gets the notice: ")
    assert line.endswith("; the job sends it in any case")
    said = stack.submit(call, "--notify", notices_topic_arn=None)
    assert stack.notify_of(said) is True
    assert "no notice will arrive: the stack has no topic for notices yet; `pulumi up` makes it\n" in said.err
