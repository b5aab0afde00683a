"""The job queues: one a pool and priority, and a dead-letter queue a pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component
from infra.iam import deny_plain_http
from receipt_trainer.contract.outputs import PRIORITIES, PoolName, Priority

VISIBILITY_TIMEOUT_S: Final = 300
"""How long a message is hidden from other workers; the worker that has it extends this by heartbeats."""

MAX_RECEIVES: Final = 100
"""Receives before a message is a dead letter. Generous, for every release and interruption counts as one: a waiting
job's message is renewed at half of it, so this only catches messages that no worker can use."""

_RETENTION_S: Final = 14 * 24 * 3600
_LONG_POLL_S: Final = 20


@dataclass(frozen=True)
class JobQueuesArgs:
    """The pools that get queues."""

    context: AwsContext
    pools: Sequence[PoolName]


class JobQueues(Component[JobQueuesArgs]):
    """FIFO queues in which each job's messages form a group: jobs run side by side, and none twice.

    Attributes:
        urls, names: pool -> priority -> of the job queue.
        all_arns: of the job queues of all pools; no dead-letter queue.
        dead_letter_urls, dead_letter_names: pool -> of its dead-letter queue.
    """

    def __init__(self, name: str, args: JobQueuesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        dead = {pool: self._queue(f"{pool}-dead") for pool in args.pools}
        jobs = {pool: self._job_queues(pool, dead[pool]) for pool in args.pools}
        self.urls = {pool: {priority: queue.url for priority, queue in of.items()} for pool, of in jobs.items()}
        self.all_arns = [queue.arn for of in jobs.values() for queue in of.values()]
        self.names = {pool: {priority: queue.name for priority, queue in of.items()} for pool, of in jobs.items()}
        self.dead_letter_urls = {pool: queue.url for pool, queue in dead.items()}
        self.dead_letter_names = {pool: queue.name for pool, queue in dead.items()}
        self.register_outputs({"urls": self.urls, "deadLetterUrls": self.dead_letter_urls})

    def _job_queues(self, pool: PoolName, dead: aws.sqs.Queue) -> dict[Priority, aws.sqs.Queue]:
        redrive = pulumi.Output.json_dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": MAX_RECEIVES})
        queues = {priority: self._queue(f"{pool}-{priority}", redrive_policy=redrive) for priority in PRIORITIES}
        sources = [queue.arn for queue in queues.values()]
        aws.sqs.RedriveAllowPolicy(
            f"{self._name}-{pool}-dead-sources",
            queue_url=dead.url,
            redrive_allow_policy=pulumi.Output.json_dumps({"redrivePermission": "byQueue", "sourceQueueArns": sources}),
            opts=self._child,
        )
        return queues

    def _queue(self, suffix: str, redrive_policy: pulumi.Input[str] | None = None) -> aws.sqs.Queue:
        queue = aws.sqs.Queue(
            f"{self._name}-{suffix}",
            fifo_queue=True,
            # By content, the second of two equal jobs of a sweep would vanish without a word.
            content_based_deduplication=False,
            deduplication_scope="messageGroup",
            fifo_throughput_limit="perMessageGroupId",
            message_retention_seconds=_RETENTION_S,
            visibility_timeout_seconds=VISIBILITY_TIMEOUT_S,
            receive_wait_time_seconds=_LONG_POLL_S,
            redrive_policy=redrive_policy,
            sqs_managed_sse_enabled=True,
            tags=self._args.context.tags_for(f"jobs-{suffix}"),
            opts=self._child,
        )
        aws.sqs.QueuePolicy(
            f"{self._name}-{suffix}-policy",
            queue_url=queue.url,
            policy=deny_plain_http("sqs", queue.arn),
            opts=self._child,
        )
        return queue
