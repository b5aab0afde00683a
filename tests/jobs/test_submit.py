"""Submitting: the job's row and its message, each once, and the configuration resolved."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.contract.job import Resources
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.model import Attempt
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.routing import choose_pool, read_training_defaults, resolve
from receipt_trainer.jobs.submit import new_job, retry_job, submit, submit_training_job
from receipt_trainer.local.emulator import LocalCloud
from tests.fault_proxy import Answer, FaultProxy


def queued(url: str) -> list[str | None]:
    """The jobs of all messages in the queue, in their order; they are taken out."""
    queue, found = SqsQueue(clients.sqs(), url), []
    while (message := queue.receive(0)) is not None:
        found.append(message.job_id)
        queue.delete(message)
    return found


def test_a_job_is_stored_and_queued(jobs_table: str, queue_url: str) -> None:
    """The documented call leaves a PENDING row that says all that it will be trained with, and one message."""
    job_id = submit_training_job(
        model_name="tiny",
        training_config=TrainingConfig(learning_rate=3e-5),
        data_config=DataConfig(max_samples=100),
        queue_url=queue_url,
        priority="high",
        job_name="my-job",
        tags={"team": "a"},
        training_defaults={"learning_rate": 1e-3, "num_epochs": 3},
    )
    job = JobTable(clients.dynamodb(), jobs_table).get(job_id)
    assert (job.status, job.name, job.priority, job.model, job.attempt) == ("PENDING", "my-job", "high", "tiny", 0)
    assert (job.queue_url, dict(job.tags)) == (queue_url, {"team": "a"})
    training = job.spec["training_config"]
    assert (training["learning_rate"], training["num_epochs"]) == (3e-5, 3)
    assert training.keys() == TrainingConfig.model_fields.keys() - TrainingConfig.added
    assert job.spec["data_config"].keys() == DataConfig.model_fields.keys() - DataConfig.added
    assert TrainingConfig.model_validate(training) == TrainingConfig(learning_rate=3e-5, num_epochs=3)
    assert queued(queue_url) == [job_id]


def test_two_equal_jobs_are_two(jobs_table: str, queue_url: str) -> None:
    """Without a client token every call is a job of its own, also of the same content."""
    ids = [submit_training_job(model_name="tiny", queue_url=queue_url) for _ in range(2)]
    assert len(set(ids)) == 2
    assert queued(queue_url) == ids


def test_a_client_token_submits_once(jobs_table: str, queue_url: str) -> None:
    """The same call with the same token is the same job; it is not queued again once a worker has seen it."""
    call: dict[str, Any] = {"model_name": "tiny", "queue_url": queue_url, "client_token": "release 7"}
    job_id = submit_training_job(**call)
    assert submit_training_job(**call) == job_id
    assert queued(queue_url) == [job_id]
    table = JobTable(clients.dynamodb(), jobs_table)
    assert isinstance(table.claim(job_id, "w1", 60, {}), Attempt)
    assert submit_training_job(**call) == job_id
    assert queued(queue_url) == []


def test_a_token_that_stands_for_another_job_is_refused(jobs_table: str, queue_url: str) -> None:
    """Nothing is queued for it, and the job that it stands for is named."""
    job_id = submit_training_job(model_name="tiny", queue_url=queue_url, client_token="t")
    with pytest.raises(UserError, match=job_id):
        submit_training_job(model_name="other", queue_url=queue_url, client_token="t")
    assert queued(queue_url) == [job_id]


def test_the_stacks_defaults_may_change_between_two_calls(jobs_table: str, queue_url: str) -> None:
    """A token stands for what was asked: the job keeps the configuration with which it was stored."""
    call: dict[str, Any] = {"model_name": "tiny", "queue_url": queue_url, "client_token": "t"}
    job_id = submit_training_job(**call, training_defaults={"num_epochs": 3})
    assert submit_training_job(**call, training_defaults={"num_epochs": 4}) == job_id
    assert JobTable(clients.dynamodb(), jobs_table).get(job_id).spec["training_config"]["num_epochs"] == 3


def test_a_token_of_an_older_trainer_is_the_same_job() -> None:
    """Fields that were added since, and say nothing, change nothing of what was asked."""
    of_0_1_0 = {"job_name": "a", "description": "", "tags": {}, "model": "tiny", "training_config": {}}
    of_0_1_0 |= {"data_config": {}, "priority": "normal", "resources": {"gpu": None, "pool": None}, "max_failures": 3}
    asked = hashlib.sha256(json.dumps(["q", of_0_1_0], sort_keys=True).encode()).hexdigest()
    assert new_job(LayoutLMJob(job_name="a", model="tiny"), "q").request_hash == asked
    assert new_job(LayoutLMJob(job_name="a", model="tiny", notify=True), "q").request_hash != asked


def test_the_default_notice_is_no_part_of_what_was_asked() -> None:
    """The stack's default is stored with the job that says nothing; a token stands for it whatever the default is."""
    spec, refused = LayoutLMJob(job_name="a", model="tiny"), LayoutLMJob(job_name="a", model="tiny", notify=False)
    assert new_job(spec, "q", notify=True).spec["notify"] is True
    assert new_job(spec, "q", notify=True).request_hash == new_job(spec, "q").request_hash
    assert new_job(refused, "q", notify=True).spec["notify"] is False


def test_a_submission_that_was_cut_off_is_completed(
    jobs_table: str, queue_url: str, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row stays, the message says how to go on, and both ways of going on queue the job."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    cut: Answer = (500, {"__type": "InternalError", "message": "cut"})
    fault_proxy.rule = lambda name, count, body: cut if name == "SendMessage" and count == 1 else None
    table, queue = JobTable(clients.dynamodb(), jobs_table), SqsQueue(clients.sqs(), queue_url)
    job = new_job(LayoutLMJob(job_name="cut", model="tiny"), queue_url, client_token="t")
    with pytest.raises(WorldError, match=f"stored but not queued.*receipt-trainer retry {job.job_id}"):
        submit(job, table, queue)
    assert table.get(job.job_id).status == "PENDING"
    assert queued(queue_url) == []
    submit(job, table, queue)
    assert queued(queue_url) == [job.job_id]
    retry_job(job.job_id)
    assert queued(queue_url) == [job.job_id]


def test_a_missing_queue_leaves_nothing_behind(jobs_table: str, aws: LocalCloud) -> None:
    """The queue is looked at before the row is written."""
    with pytest.raises(UserError, match="there is no queue"):
        submit_training_job(model_name="tiny", queue_url=f"{aws.endpoint}/123456789012/none.fifo")
    assert clients.dynamodb().scan(TableName=jobs_table)["Items"] == []


def test_a_retried_job_is_queued_though_its_first_message_was_just_there(jobs_table: str, queue_url: str) -> None:
    """The message of a retry has a deduplication id of its own."""
    job_id = submit_training_job(model_name="tiny", queue_url=queue_url)
    table = JobTable(clients.dynamodb(), jobs_table)
    attempt = table.claim(job_id, "w1", 60, {})
    assert isinstance(attempt, Attempt)
    table.fail(attempt, "broken", final=True)
    assert retry_job(job_id).status == "PENDING"
    assert queued(queue_url) == [job_id, job_id]


def hidden_for_an_hour(jobs_table: str, queue_url: str) -> tuple[str, JobTable, SqsQueue]:
    """A job whose delivery waits, and whose message does."""
    job_id = submit_training_job(model_name="tiny", queue_url=queue_url)
    table, queue = JobTable(clients.dynamodb(), jobs_table), SqsQueue(clients.sqs(), queue_url)
    message, attempt = queue.receive(0), table.claim(job_id, "w1", 60, {})
    assert message is not None
    assert isinstance(attempt, Attempt)
    table.defer(attempt, "S3 is away", None, 3600)
    queue.extend(message, 3600)
    return job_id, table, queue


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_run_is_delivered_at_once_when_somebody_asks(jobs_table: str, queue_url: str, is_cancelled: bool) -> None:
    """Its message is hidden for hours, and with it every other one of its group; also if it was cancelled meanwhile."""
    job_id, table, queue = hidden_for_an_hour(jobs_table, queue_url)
    if is_cancelled:
        table.cancel(job_id)
    queue.send(job_id, "another")
    assert queue.receive(0) is None
    job = retry_job(job_id)
    assert (job.status, job.num_undelivered, job.next_try_at) == ("PENDING" if is_cancelled else "INTERRUPTED", 0, None)
    found = queue.receive(0)
    assert found is not None
    assert found.job_id == job_id
    assert isinstance(table.claim(job_id, "w2", 60, {}), Attempt)


def test_a_retry_that_was_cut_off_can_be_repeated(jobs_table: str, queue_url: str) -> None:
    """The first one died between row and message; the old message is hidden for an hour, and holds its group."""
    job_id, table, queue = hidden_for_an_hour(jobs_table, queue_url)
    table.retry(job_id)
    retry_job(job_id)
    found = queue.receive(0)
    assert found is not None
    assert found.job_id == job_id


def test_the_table_must_be_known(queue_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a jobs table the caller is told how to name it."""
    monkeypatch.delenv("JOBS_TABLE_NAME", raising=False)
    with pytest.raises(UserError, match="JOBS_TABLE_NAME"):
        submit_training_job(model_name="tiny", queue_url=queue_url)


@pytest.mark.parametrize("wrong", [{"max_failures": 0}, {"job_name": "../x"}, {"priority": "urgent"}, {"pool": "tpu"}])
def test_a_wrong_value_is_named(queue_url: str, wrong: dict[str, Any]) -> None:
    """The call is refused by the field's name before anything is asked of AWS."""
    with pytest.raises(UserError, match=next(iter(wrong))):
        submit_training_job(model_name="tiny", queue_url=queue_url, **wrong)


def test_an_empty_token_is_refused() -> None:
    """It would make one job of everybody's."""
    with pytest.raises(UserError, match="client token is empty"):
        new_job(LayoutLMJob(job_name="a"), "https://q/a.fifo", client_token=" ")


@pytest.mark.parametrize(
    ("resources", "pools", "named", "chosen"),
    [
        (Resources(), ["cpu", "gpu"], None, "gpu"),
        (Resources(), ["cpu"], None, "cpu"),
        (Resources(gpu=False), ["cpu", "gpu"], None, "cpu"),
        (Resources(gpu=True), ["cpu", "gpu"], None, "gpu"),
        (Resources(pool="cpu"), ["cpu", "gpu"], None, "cpu"),
        (Resources(gpu=True), ["cpu", "gpu"], "cpu", "cpu"),
    ],
)
def test_the_pool(resources: Resources, pools: list[Any], named: Any, chosen: str) -> None:
    """Named, else by need, else gpu where there is one, else the only one."""
    assert choose_pool(resources, pools, named) == chosen


def test_a_pool_that_the_stack_lacks() -> None:
    """It is refused with those there are; a job that needs a GPU is never put where there is none."""
    with pytest.raises(UserError, match=r"no pool 'gpu' \(it has: cpu\)"):
        choose_pool(Resources(gpu=True), ["cpu"])


@pytest.mark.parametrize(
    ("own", "defaults", "precision"),
    [
        ({"precision": "bf16"}, {"fp16": True}, "bf16"),
        ({"fp16": False}, {"precision": "fp16"}, "auto"),
        ({}, {"precision": "fp16"}, "fp16"),
    ],
)
def test_precision_is_said_in_one_way(own: dict[str, Any], defaults: dict[str, Any], precision: str) -> None:
    """A job's fp16 and a stack's precision, or the reverse, do not contradict each other: the job's counts alone."""
    spec = resolve(LayoutLMJob(job_name="a", training_config=TrainingConfig(**own)), defaults)
    assert isinstance(spec, LayoutLMJob)
    assert spec.training_config.precision == precision
    assert spec.training_config.fp16 == own.get("fp16")


def test_defaults_that_are_none() -> None:
    """A hyperparameter that the trainer does not know stops the submission by its name."""
    with pytest.raises(UserError, match="learning_rat"):
        resolve(LayoutLMJob(job_name="a"), {"learning_rat": 1})


def test_the_stacks_defaults_are_read(aws: LocalCloud) -> None:
    """The parameter holds a JSON object; one that is not there or holds something else is named."""
    name, client = f"/{uuid4().hex}", clients.ssm()
    with pytest.raises(UserError, match=f"{name}.*there is no such parameter"):
        read_training_defaults(client, name)
    client.put_parameter(Name=name, Value=json.dumps({"num_epochs": 2}), Type="String")
    assert read_training_defaults(client, name) == {"num_epochs": 2}
    client.put_parameter(Name=name, Value="[1]", Type="String", Overwrite=True)
    with pytest.raises(UserError, match="not hold a JSON object"):
        read_training_defaults(client, name)
