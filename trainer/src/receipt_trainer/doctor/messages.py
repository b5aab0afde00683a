"""Jobs that no worker takes: they wait without a message, or are held."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.waiting import Look
from receipt_trainer.doctor.findings import Finding, cannot_look, ok, warning
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.jobs import queue
from receipt_trainer.jobs.find import Wanted, find
from receipt_trainer.jobs.state_machine import is_held

_MAX_NAMED: Final = 3


def look_at_messages(subject: Subject) -> Iterator[Finding]:
    """Jobs that have not ended, against the messages that stand for them; SQS's numbers are approximate."""
    if subject.outputs is None:
        return
    dynamodb, sqs = (subject.clients.of(name, subject.region) for name in ("dynamodb", "sqs"))
    table = subject.outputs.jobs_table
    with aws_faults("look for jobs without a message", table=table):
        found = waiting_calls.survey(dynamodb, sqs, table, subject.outputs.places(), subject.now)
    heal = f"receipt-trainer doctor --heal{subject.given}"
    for one in found.seen:
        text = queue.words(one.look)
        if one.look.num_missing and any(job.is_overdue(subject.now) for job in one.jobs):
            yield warning(f"{text}: {_when(one.last, subject.now)}", heal)
        else:
            yield ok(text)
        odd = [job.job_id for job in one.jobs if not job.is_readable]
        if odd:
            see = f"receipt-trainer job-status{subject.given} {odd[0]}"
            yield warning(f"{one.place.label}: rows that no worker can read: {_named(odd)}", see)
    if found.homeless:
        text = f"{len(found.homeless)} in queues that are gone: {_named([job.job_id for job, _ in found.homeless])}"
        yield warning(f"jobs wait {text}; they go to the new queues", heal)
    if found.strays:
        strays = [job.job_id for job in found.strays]
        cancel = [f"receipt-trainer cancel{subject.given} {job_id}" for job_id in strays[:_MAX_NAMED]]
        text = f"jobs wait in queues that this stack does not have, nobody takes them: {_named(strays)}"
        yield warning(text, *cancel, "Submit them anew to a pool that there is.")
    for label, error in found.faults.items():
        yield cannot_look(f"queue {label}", error)
    held = [str(row["job_id"]) for row in find(dynamodb, table, Wanted(status="INTERRUPTED")) if is_held(row)]
    if held:
        retry = [f"receipt-trainer retry{subject.given} {job_id}" for job_id in held[:_MAX_NAMED]]
        text = f"jobs are held, their complete runs are not delivered: {_named(held)}; once the cause is gone"
        yield warning(text, *retry)


def _when(last: Look | None, now: datetime) -> str:
    if queue.is_recent(last, now):
        return "they get a new one within ten minutes, or at once"
    since = f"since {last.at:%Y-%m-%d %H:%M} UTC" if last else "yet"
    return f"the stack's function, which sends new ones, has not looked {since}"


def _named(job_ids: list[str]) -> str:
    more = len(job_ids) - _MAX_NAMED
    return ", ".join(job_ids[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
