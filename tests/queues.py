"""FIFO queues of the embedded AWS."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from receipt_trainer.aws import clients


def new_queue(name: str = "", sqs: Any = None, **attributes: str) -> str:
    """URL of a fresh FIFO queue, of a name of its own or of the given one without its `.fifo`."""
    given = {"FifoQueue": "true", **attributes}
    made = (sqs or clients.sqs()).create_queue(QueueName=f"{name or uuid4().hex}.fifo", Attributes=given)
    return str(made["QueueUrl"])


def new_stack_queue(name: str = "") -> str:
    """The same, with the attributes that the stack gives its queues."""
    return new_queue(name, DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
