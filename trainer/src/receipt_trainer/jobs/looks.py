"""The looks at the job queues, as commands say them; see `receipt_trainer.contract.waiting`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.liveness import LOOK_EVERY_MIN

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

    from receipt_trainer.contract.waiting import Look

LATE_S: Final = 3 * LOOK_EVERY_MIN * 60
"""A last look that is older says that the stack's function looks no more."""


def read_short(client: DynamoDBClient, table: str, now: datetime) -> list[Look]:
    """The queues with fewer messages than jobs, as the stack's function saw them minutes ago; one request.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    with aws_faults("read the looks at the queues", table=table):
        looks = waiting_calls.read_looks(client, table).values()
    return [look for look in looks if look.short_since is not None and is_recent(look, now)]


def is_recent(look: Look | None, now: datetime) -> bool:
    """Whether the stack's function still looks."""
    return look is not None and (now - look.at).total_seconds() <= LATE_S


def words(look: Look) -> str:
    """Jobs and messages of a queue, in one line."""
    waits = _counted(look.num_waiting, "job waits", "jobs wait")
    taken = f" and {_counted(look.num_active, 'is taken', 'are taken')}" if look.num_active else ""
    return f"{waits}{taken} in {look.queue}, {_counted(look.num_messages, 'message', 'messages')}"


def promise(look: Look, given: str) -> str:
    """What becomes of jobs without a message, and the command that does it at once; `given` names the stack."""
    heal = f"`receipt-trainer doctor --heal{given}`"
    return f"{words(look)}: they get a new one within ten minutes, or at once by {heal}"


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
