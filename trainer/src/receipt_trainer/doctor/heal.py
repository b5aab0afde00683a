"""Gives jobs that wait without a message a new one, as the stack's function does, but at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract import waiting, waiting_calls
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.contract.waiting_calls import Survey
from receipt_trainer.jobs import queue as looks

STEP_S: Final = 15.0
"""Between two words about how long it still takes."""

Say = Callable[[str], None]


@dataclass
class Sent:
    """Messages that were sent.

    Attributes:
        sent: queue -> ids of jobs that got a new message.
        moved: queue -> ids of jobs that came from a queue that is gone.
        faults: what could not be done, by queue or job.
    """

    sent: dict[str, list[str]] = field(default_factory=dict)
    moved: dict[str, list[str]] = field(default_factory=dict)
    faults: dict[str, Exception] = field(default_factory=dict)


def heal(
    outputs: StackOutputs,
    dynamodb: Any,
    sqs: Any,
    say: Say,
    wait_says: Say,
    *,
    clock: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
) -> Sent:
    """Look twice, five minutes apart, and send what is missing. The function's last look counts as the first.

    Args:
        say, wait_says: take a line about what was found or done, and every few seconds about how long it still takes.

    Raises:
        UserError, WorldError: the jobs table cannot be read.
    """
    done = Sent()
    found = _look(outputs, dynamodb, sqs, done, clock())
    for one in found.seen:
        say(looks.words(one.look))
    _tell(done, say)
    again = [one for one in found.seen if one.look.num_missing and not one.unsent]
    if again:
        queues = ", ".join(one.place.label for one in again)
        at = max(one.look.short_since or one.look.at for one in again) + timedelta(seconds=waiting.WAIT_S)
        say(f"{queues}: a second look, five minutes after the first, must agree: at {at:%H:%M:%S} UTC")
        while (left_s := (at - clock()).total_seconds()) > 0:
            wait_says(f"the second look comes in {left_s // 60:.0f} min {left_s % 60:.0f} s")
            sleep(min(left_s, STEP_S))
        second = Sent()
        later = _look(outputs, dynamodb, sqs, second, clock())
        _tell(second, say)
        for one in later.seen:
            if one.place.label in {was.place.label for was in again} and not one.look.num_missing:
                say(f"{looks.words(one.look)}: no message is missing now")
        done.sent |= second.sent
        done.moved |= second.moved
        done.faults |= second.faults
    return done


def _look(outputs: StackOutputs, dynamodb: Any, sqs: Any, done: Sent, now: datetime) -> Survey:
    with aws_faults("look for jobs without a message", table=outputs.jobs_table):
        found = waiting_calls.survey(dynamodb, sqs, outputs.jobs_table, outputs.places(), now)
        healed = waiting_calls.heal(dynamodb, sqs, outputs.jobs_table, found)
    done.sent, done.moved, done.faults = healed.sent, healed.moved, healed.faults
    return found


def _tell(done: Sent, say: Say) -> None:
    for queue, job_ids in done.sent.items():
        count = "1 new message" if len(job_ids) == 1 else f"{len(job_ids)} new messages"
        say(f"{queue}: {count}: {', '.join(job_ids)}")
    for queue, job_ids in done.moved.items():
        say(f"{queue}: from a queue that is gone: {', '.join(job_ids)}")
