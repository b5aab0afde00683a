from __future__ import annotations

import json
from typing import Any

import pytest

from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES, PoolName
from receipt_trainer.local.pulumi_program import Recording
from tests.infra.edits import stack, statements

QUEUE = "aws:sqs/queue:Queue"


def recorded(pools: tuple[PoolName, ...] = POOL_NAMES) -> Recording:
    return stack(pools={pool: {"enabled": pool in pools} for pool in POOL_NAMES})


@pytest.mark.parametrize("pools", [("gpu",), ("cpu",), ("gpu", "cpu")])
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
        assert f":jobs-{pool}-dead-" in redrive["deadLetterTargetArn"]
        assert 100 <= redrive["maxReceiveCount"] <= 1000
    assert "redrivePolicy" not in recording.one(f"jobs-{pool}-dead", QUEUE).inputs


@pytest.mark.parametrize("pool", POOL_NAMES)
def test_a_dead_letter_queue_takes_from_its_own_sources_alone(pool: PoolName) -> None:
    """Its redrive-allow policy names exactly the job queues of the pool."""
    allow = recorded().one(f"jobs-{pool}-dead-sources").inputs
    policy = json.loads(allow["redriveAllowPolicy"])
    assert allow["queueUrl"] == outputs(pool)["dead_letter_queue_url"]
    assert policy["redrivePermission"] == "byQueue"
    sources = sorted(arn.rpartition(":")[2] for arn in policy["sourceQueueArns"])
    assert sources == sorted(url.rpartition("/")[2] for url in outputs(pool)["queue_urls"].values())


def test_every_queue_answers_over_tls_only() -> None:
    """Each queue, dead letters included, has a policy that denies everything without TLS and allows nothing."""
    policies = recorded().of_type("aws:sqs/queuePolicy:QueuePolicy")
    assert len({policy.inputs["queueUrl"] for policy in policies}) == len(recorded().of_type(QUEUE)) == 6
    for policy in policies:
        (statement,) = statements(policy.inputs["policy"])
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
        assert statement["Resource"].rpartition(":")[2] == policy.inputs["queueUrl"].rpartition("/")[2]
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_outputs_tell_pools_and_priorities_apart() -> None:
    """The URL of a pool and priority is that of the queue named after both."""
    for pool in POOL_NAMES:
        for priority, url in outputs(pool)["queue_urls"].items():
            assert f"/jobs-{pool}-{priority}-" in url
            assert url.endswith(".fifo")


def outputs(pool: PoolName) -> dict[str, Any]:
    found: dict[str, Any] = recorded().outputs["pools"][pool]
    return found
