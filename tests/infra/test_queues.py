from __future__ import annotations

import json
from functools import cache
from typing import Any

import pulumi
import pytest

from infra.data.queues import JobQueues, JobQueuesArgs
from infra.naming import Naming
from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES, PoolName
from receipt_trainer.local.pulumi_program import Recording, run

QUEUE = "aws:sqs/queue:Queue"


def program(pools: tuple[PoolName, ...]) -> None:
    queues = JobQueues("jobs", JobQueuesArgs(Naming("receipt-trainer", "dev"), pools))
    for attribute in ("urls", "arns", "names", "dead_letter_urls", "dead_letter_arns", "dead_letter_names"):
        pulumi.export(attribute, getattr(queues, attribute))


@cache
def recorded(pools: tuple[PoolName, ...] = POOL_NAMES) -> Recording:
    return run(lambda: program(pools))


@pytest.mark.parametrize("pools", [("gpu",), ("cpu",), ("gpu", "cpu"), ()])
def test_each_pool_has_a_queue_for_each_priority_and_one_for_dead_letters(pools: tuple[PoolName, ...]) -> None:
    """Pools that the settings leave out cost no queue."""
    expected = {f"jobs-{pool}-{end}" for pool in pools for end in (*PRIORITIES, "dead")}
    assert {queue.name for queue in recorded(pools).of_type(QUEUE)} == expected


def test_every_queue_is_fifo_by_job() -> None:
    """Order and deduplication are per message group, never by content: two equal jobs of a sweep are two jobs."""
    for queue in recorded().of_type(QUEUE):
        assert queue.inputs["fifoQueue"] is True
        assert queue.inputs["contentBasedDeduplication"] is False
        assert queue.inputs["deduplicationScope"] == "messageGroup"
        assert queue.inputs["fifoThroughputLimit"] == "perMessageGroupId"


def test_queues_keep_messages_two_weeks_encrypted_and_poll_long() -> None:
    """Retention is SQS's longest, encryption SQS's own, a poll waits 20 s and a claim lasts 300 s."""
    for queue in recorded().of_type(QUEUE):
        assert queue.inputs["messageRetentionSeconds"] == 1_209_600
        assert queue.inputs["sqsManagedSseEnabled"] is True
        assert queue.inputs["receiveWaitTimeSeconds"] == 20
        assert queue.inputs["visibilityTimeoutSeconds"] == 300


@pytest.mark.parametrize("pool", POOL_NAMES)
def test_dead_letters_go_to_the_queue_of_their_own_pool(pool: PoolName) -> None:
    """Both priorities of a pool redrive to its dead-letter queue, after more receives than interruptions make."""
    recording = recorded()
    for priority in PRIORITIES:
        redrive = json.loads(recording.one(f"jobs-{pool}-{priority}", QUEUE).inputs["redrivePolicy"])
        assert redrive["deadLetterTargetArn"] == recording.outputs["dead_letter_arns"][pool]
        assert 100 <= redrive["maxReceiveCount"] <= 1000
    assert "redrivePolicy" not in recording.one(f"jobs-{pool}-dead", QUEUE).inputs


@pytest.mark.parametrize("pool", POOL_NAMES)
def test_a_dead_letter_queue_takes_from_its_own_sources_alone(pool: PoolName) -> None:
    """Its redrive-allow policy names exactly the job queues of the pool."""
    allow = recorded().one(f"jobs-{pool}-dead-sources").inputs
    policy = json.loads(allow["redriveAllowPolicy"])
    assert allow["queueUrl"] == recorded().outputs["dead_letter_urls"][pool]
    assert policy["redrivePermission"] == "byQueue"
    assert sorted(policy["sourceQueueArns"]) == sorted(recorded().outputs["arns"][pool].values())


def test_every_queue_answers_over_tls_only() -> None:
    """Each queue, dead letters included, has a policy that denies everything without TLS and allows nothing."""
    policies = {
        p.inputs["queueUrl"]: policy_of(p.inputs) for p in recorded().of_type("aws:sqs/queuePolicy:QueuePolicy")
    }
    outputs = recorded().outputs
    every = {url: arn for pool in POOL_NAMES for url, arn in zip(*all_of(outputs, pool), strict=True)}
    assert policies.keys() == every.keys()
    for url, statements in policies.items():
        (statement,) = statements
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
        assert statement["Resource"] == every[url]
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def policy_of(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = json.loads(inputs["policy"])["Statement"]
    return statements


def all_of(outputs: dict[str, Any], pool: PoolName) -> tuple[list[str], list[str]]:
    """URLs and ARNs of all queues of a pool, in one order."""
    return tuple(  # type: ignore[return-value]
        [outputs[f"{what}s"][pool][priority] for priority in PRIORITIES] + [outputs[f"dead_letter_{what}s"][pool]]
        for what in ("url", "arn")
    )


def test_attributes_tell_pools_and_priorities_apart() -> None:
    """Each of urls, arns and names has a different value for every pool and priority, named after both."""
    for what in ("urls", "arns", "names"):
        found = recorded().outputs[what]
        values = {(pool, priority): found[pool][priority] for pool in POOL_NAMES for priority in PRIORITIES}
        assert all(f"{pool}-{priority}" in value for (pool, priority), value in values.items())
        assert all(value.endswith(".fifo") for value in values.values())
