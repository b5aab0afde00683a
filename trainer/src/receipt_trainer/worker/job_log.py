"""The worker's own lines in a job's log, beside those of the training process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from receipt_trainer.contract.names import DEFAULT_ROWS_DAYS
from receipt_trainer.contract.sinks import MetricsSink
from receipt_trainer.jobs.lifecycle import Attempt
from receipt_trainer.jobs.metrics_writer import JobStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

FIRST_SEQ: Final = 50_000_000
"""Far from the training process's numbers, so that two rows of one instant stay two."""
MAX_PENDING: Final = 2000


def job_log(
    client: DynamoDBClient, table: str, keep_days: int = DEFAULT_ROWS_DAYS
) -> Callable[[Attempt, Callable[[], bool]], MetricsSink]:
    """What `Worker` opens logs with."""

    def open_log(attempt: Attempt, may_write: Callable[[], bool]) -> MetricsSink:
        return JobStore(
            client,
            table,
            attempt.job_id,
            attempt=attempt.number,
            max_pending=MAX_PENDING,
            first_seq=FIRST_SEQ,
            keep_days=keep_days,
            may_write=may_write,
        )

    return open_log
