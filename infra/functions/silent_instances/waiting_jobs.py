"""Gives jobs that wait without a message a new one; see `receipt_trainer.contract.waiting`, which lies beside this file
in the package."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.waiting import JobQueuePlace


@dataclass(frozen=True)
class QueueRules:
    """Settings from the stack: the name of the jobs table, and the URL of each job queue by pool and priority."""

    table: str
    queues: Mapping[str, Mapping[str, str]]

    def places(self) -> list[JobQueuePlace]:
        """All queues."""
        return [JobQueuePlace(pool, priority, url) for pool, of in self.queues.items() for priority, url in of.items()]


def look(rules: QueueRules, client: Callable[[str], Any], now: datetime) -> dict[str, list[str]]:
    """One look at all queues; ids of the jobs that got a message.

    Raises:
        RuntimeError: a queue could not be counted, or a message not sent; all else was done.
        Exception: the jobs could not be read; then nothing was sent.
    """
    dynamodb, sqs = client("dynamodb"), client("sqs")
    survey = waiting_calls.survey(dynamodb, sqs, rules.table, rules.places(), now)
    healed = waiting_calls.heal(dynamodb, sqs, rules.table, survey)
    for one in survey.seen:
        if one.look.num_missing:
            numbers = {
                "waiting": one.look.num_waiting,
                "active": one.look.num_active,
                "messages": one.look.num_messages,
            }
            _say("fewer messages than jobs", queue=one.place.label, **numbers)
    for event, by_queue in (("sent again", healed.sent), ("moved from a queue that is gone", healed.moved)):
        for queue, job_ids in by_queue.items():
            _say(event, queue=queue, job_ids=job_ids)
    if healed.faults:
        raise RuntimeError("; ".join(f"{at}: {error}" for at, error in healed.faults.items()))
    return {"sent": _flat(healed.sent), "moved": _flat(healed.moved)}


def _flat(jobs: Mapping[str, list[str]]) -> list[str]:
    return [job_id for ids in jobs.values() for job_id in ids]


def _say(event: str, **what: Any) -> None:
    print(json.dumps({"event": event, **what}))
