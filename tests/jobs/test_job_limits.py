"""A job's size: what is too large is refused before anything is stored, and what is accepted lives its whole life."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.config.job_file import LayoutLMJob, read_job
from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.contract.job import (
    MAX_DESCRIPTION,
    MAX_ROW_BYTES,
    MAX_TAG_KEY,
    MAX_TAG_VALUE,
    MAX_TAGS,
    too_long,
)
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.model import Attempt, Job
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.state_machine import REASON_LENGTH
from receipt_trainer.jobs.submit import new_job, retry_job, submit
from receipt_trainer.local.emulator import LocalCloud

WIDE = "\U0001f9fe"
"""A character of four bytes, the most there are."""
DYNAMODB_LIMIT = 409_600


def spec_of_labels(num: int, more: str = "", **values: Any) -> LayoutLMJob:
    """A job with so many labels to learn, and one whose name is `more`."""
    labels = [f"LABEL_{n:06d}" for n in range(num)] + ([more] if more else [])
    return LayoutLMJob(job_name="large", model="tiny", data_config=DataConfig(allowed_labels=tuple(labels)), **values)


def largest(url: str) -> Job:
    """The job whose row has as many bytes as a row may have, with the longest description and tags."""
    words = {f"{n:02d}{'k' * (MAX_TAG_KEY - 2)}": WIDE * MAX_TAG_VALUE for n in range(MAX_TAGS)}
    given = {"description": WIDE * MAX_DESCRIPTION, "tags": words}
    few = dynamo.size_bytes(new_job(spec_of_labels(10, "L", **given), url).to_row())
    num = 10 + (MAX_ROW_BYTES - few) // len('"LABEL_000000", ')
    size = dynamo.size_bytes(new_job(spec_of_labels(num, "L", **given), url).to_row())
    return new_job(spec_of_labels(num, "L" * (1 + MAX_ROW_BYTES - size), **given), url)


def test_the_largest_job_can_be_claimed_failed_retried_and_cancelled(
    jobs_table: str, queue_url: str, aws: LocalCloud
) -> None:
    """Its row has exactly the bytes that are allowed; each attempt fails for the longest reason that is kept, in the
    widest characters, and the row never meets DynamoDB's own limit."""
    job = submit(largest(queue_url), JobTable(clients.dynamodb(), jobs_table), SqsQueue(clients.sqs(), queue_url))
    assert dynamo.size_bytes(largest(queue_url).to_row()) == MAX_ROW_BYTES
    table = JobTable(clients.dynamodb(), jobs_table)

    def attempt() -> Attempt:
        given = table.claim(job.job_id, "worker-" + "w" * 200, 60, {"instance_type": "g6.xlarge"})
        assert isinstance(given, Attempt)
        table.start(given, 0)
        table.renew(given, 60)
        return given

    reason = WIDE * (2 * REASON_LENGTH)
    assert table.fail(attempt(), reason) == "PENDING"
    assert table.interrupt(attempt(), reason, 10**9) == "INTERRUPTED"
    assert table.fail(attempt(), reason, final=True) == "FAILED"
    assert retry_job(job.job_id).status == "PENDING"
    assert table.cancel(job.job_id).status == "CANCELLED"
    assert table.retry(job.job_id).status == "PENDING"
    last = attempt()
    assert table.cancel(job.job_id).cancel_requested
    table.end_cancelled(last, reason)
    ended = table.get(job.job_id)
    assert (ended.status, dict(ended.spec)) == ("CANCELLED", dict(job.spec))
    assert len(str(ended.reason)) == REASON_LENGTH
    room = DYNAMODB_LIMIT - dynamo.size_bytes(ended.to_row())
    assert room > 2 * len(str(ended.reason).encode())  # for two more texts as long as a reason


def test_sizes_are_counted_as_dynamodb_does() -> None:
    """Names and texts in UTF-8; a byte for true and null; three for a list or a map, and one for each thing in it."""
    assert dynamo.size_bytes({"PK": "a", "wide": WIDE, "yes": True, "none": None}) == 3 + 8 + 4 + 5
    assert dynamo.size_bytes({"list": ["a", "bc"], "map": {"key": "v"}}) == 4 + 3 + 2 + 3 + 3 + 3 + 1 + 4
    assert dynamo.size_bytes({"n": 12.5}) == 1 + 21  # no number has more


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"description": "d" * (MAX_DESCRIPTION + 1)}, r"description has 4,001 characters; at most 4,000"),
        ({"tags": {str(n): "" for n in range(MAX_TAGS + 1)}}, "tags are 51; at most 50"),
        ({"tags": {"k" * (MAX_TAG_KEY + 1): ""}}, "tags have a key of 129 characters .*1 to 128"),
        ({"tags": {"": "x"}}, "tags have a key of 0 characters"),
        ({"tags": {"team": "v" * (MAX_TAG_VALUE + 1)}}, "tags.team has 257 characters; at most 256"),
        ({"description": "a \ud83e b"}, r"description holds \\ud83e, half a character"),
        ({"tags": {"a\ud800": "b"}}, r"tags holds \\ud800, half a character"),
        ({"model": "tiny\udcff"}, r"model holds \\udcff, half a character"),
        ({"data_config": {"allowed_labels": ["\udfff"]}}, r"data_config.allowed_labels holds \\udfff"),
        (
            {"data_config": {"allowed_labels": [f"LABEL_{n}" for n in range(30_000)]}},
            r"the job takes \d{3},\d{3} bytes in the jobs table; at most 350,000. Most of it is data_config \(",
        ),
    ],
)
def test_what_is_too_large_is_said_with_its_size_and_the_limit(values: dict[str, Any], said: str) -> None:
    """Each is the user's mistake, and nothing is asked of AWS for it."""
    spec = read_job({"job_name": "large", "model": "tiny"} | values, "test")
    with pytest.raises(UserError, match=said):
        new_job(spec, "https://queue/a.fifo")


def test_a_client_token_that_is_no_text_is_refused() -> None:
    """Bytes of a command line that are no UTF-8 make no id."""
    with pytest.raises(UserError, match="client token is not UTF-8 text"):
        new_job(
            LayoutLMJob(job_name="a", model="tiny"),
            "https://queue/a.fifo",
            client_token=b"\xff\xfe".decode("utf-8", "surrogateescape"),
        )


def test_stored_jobs_of_older_versions_are_read_whatever_their_size() -> None:
    """The limits are of what is submitted: a job that was accepted before they were goes on."""
    spec = {
        "job_name": "old",
        "model": "tiny",
        "description": "d" * 100_000,
        "tags": {str(n): "" for n in range(10_000)},
    }
    row = Job("id", "old", "PENDING", spec=spec, description="d" * 100_000, created_at="x", updated_at="x").to_row()
    read = read_job(Job.from_row(json.loads(json.dumps(row))).spec, "test")
    assert len(read.tags) == 10_000
    assert too_long(read) is not None
