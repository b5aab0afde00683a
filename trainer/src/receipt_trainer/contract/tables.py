"""The DynamoDB tables: their shapes to create them, their keys and values to read and write them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Index:
    """A global secondary index: it holds the rows that have both of its keys, which are strings.

    `included`: what it holds beside its keys and the table's; None: the entire row.
    """

    name: str
    partition: str
    sort: str
    included: tuple[str, ...] | None = None

    def projection(self) -> dict[str, Any]:
        """DynamoDB's Projection."""
        if self.included is None:
            return {"ProjectionType": "ALL"}
        return {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(self.included)}


@dataclass(frozen=True, slots=True)
class TableShape:
    """One table with the string keys PK and SK; the stack puts its prefix before its name.

    `ttl_attribute`: attribute with the expiry in epoch seconds, or None.
    """

    name: str
    indexes: tuple[Index, ...] = ()
    ttl_attribute: str | None = None

    def create_arguments(self, table_name: str) -> dict[str, Any]:
        """Arguments of DynamoDB's CreateTable for this shape, billed by request."""
        keys = dict.fromkeys(["PK", "SK", *(key for one in self.indexes for key in (one.partition, one.sort))])
        arguments: dict[str, Any] = {
            "TableName": table_name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in keys],
            "KeySchema": _key_schema("PK", "SK"),
        }
        if self.indexes:
            arguments["GlobalSecondaryIndexes"] = [
                {
                    "IndexName": one.name,
                    "KeySchema": _key_schema(one.partition, one.sort),
                    "Projection": one.projection(),
                }
                for one in self.indexes
            ]
        return arguments


def numbered(count: int) -> tuple[Index, ...]:
    """GSI1, GSI2, ... with the keys GSI1PK and GSI1SK, ..., each with the entire row."""
    return tuple(Index(f"GSI{n}", f"GSI{n}PK", f"GSI{n}SK") for n in range(1, count + 1))


def _key_schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]


EXPIRES_AT: Final = "expires_at"
"""Attribute of rows that DynamoDB deletes by itself: epoch seconds."""
# Their keys are attributes that a job's own row has always had, and no other row has both: DynamoDB fills them with the
# jobs of older versions by itself.
JOBS_BY_CHANGE: Final = Index("GSI3", "status", "updated_at", ("job_id", "name", "pool", "attempt"))
JOBS_BY_ID: Final = Index("GSI4", "status", "job_id", ("name", "created_at"))

RECEIPTS = TableShape("receipts", numbered(4))
JOBS = TableShape("jobs", (*numbered(2), JOBS_BY_CHANGE, JOBS_BY_ID), ttl_attribute=EXPIRES_AT)
INSTANCES = TableShape("instances", ttl_attribute=EXPIRES_AT)
ALL_TABLES = (RECEIPTS, JOBS, INSTANCES)


IMAGE_SK: Final = "IMAGE"
"""Sort key of an image's own row, which names its photo."""


def image_pk(image_id: str) -> str:
    """Partition key of everything on one image."""
    return f"IMAGE#{image_id}"


def receipt_sk(receipt_id: int) -> str:
    """Sort key of a receipt and prefix of all that is on it."""
    return f"RECEIPT#{receipt_id:05d}"


def line_sk(receipt_id: int, line_id: int) -> str:
    """Sort key of a line of a receipt."""
    return f"{receipt_sk(receipt_id)}#LINE#{line_id:05d}"


def word_sk(receipt_id: int, line_id: int, word_id: int) -> str:
    """Sort key of a word of a receipt."""
    return f"{line_sk(receipt_id, line_id)}#WORD#{word_id:05d}"


def review_sk(receipt_id: int) -> str:
    """Sort key of what a person has said of a receipt as a whole."""
    return f"{receipt_sk(receipt_id)}#REVIEW"


def label_sk(receipt_id: int, line_id: int, word_id: int, label: str) -> str:
    """Sort key of a label of a word."""
    return f"{word_sk(receipt_id, line_id, word_id)}#LABEL#{label}"


def validation_status_pk(status: str) -> str:
    """GSI3 partition of all labels of one validation status."""
    return f"VALIDATION_STATUS#{status}"


JOB_SK = "JOB"
"""Sort key of a job's own row."""
INSTANCE_SK = "INSTANCE"
"""Sort key of an instance's row."""


def job_pk(job_id: str) -> str:
    """Partition key of all rows of one job."""
    return f"JOB#{job_id}"


def job_status_pk(status: str) -> str:
    """GSI1 partition of all jobs of one state."""
    return f"STATUS#{status}"


def job_name_pk(name: str) -> str:
    """GSI2 partition of all jobs of one name."""
    return f"NAME#{name}"


def job_order(created_at: str, job_id: str) -> str:
    """GSI1 and GSI2 sort key: jobs in the order in which they were made."""
    return f"{created_at}#{job_id}"


def status_sk(timestamp: str, seq: int) -> str:
    """Sort key of a change of a job's state; `seq` counts the job's changes, so that no two rows are one."""
    return f"STATUS#{timestamp}#{seq:08d}"


def attempt_sk(number: int) -> str:
    """Sort key of an attempt."""
    return f"ATTEMPT#{number:06d}"


def checkpoint_sk(step: int) -> str:
    """Sort key of a checkpoint."""
    return f"CHECKPOINT#{step:010d}"


def metric_sk(name: str, timestamp: str, seq: int) -> str:
    """Sort key of a metric row; `seq` keeps two rows of one instant apart."""
    return f"METRIC#{name}#{timestamp}#{seq:08d}"


def log_sk(timestamp: str, seq: int) -> str:
    """Sort key of a log row."""
    return f"LOG#{timestamp}#{seq:08d}"


def instance_pk(instance_id: str) -> str:
    """Partition key of an instance."""
    return f"INSTANCE#{instance_id}"


SWEEP_SK = "SWEEP"
"""Sort key of a sweep's own row in the jobs table."""
SWEEPS_PK = "SWEEPS"
"""GSI1 partition of all sweeps."""


def sweep_pk(name: str) -> str:
    """Partition key of a sweep and its trials in the jobs table."""
    return f"SWEEP#{name}"


def trial_sk(number: int) -> str:
    """Sort key of a trial of a sweep that version 0.1.0 has stored; later ones are in the sweep's journal."""
    return f"TRIAL#{number:06d}"


def journal_sk(number: int) -> str:
    """Sort key of a sweep's journal from its `number`-th entry on, counted from 0."""
    return f"JOURNAL#{number:09d}"


LOOKS_PK = "LOOKS"
"""Partition key of the last look at each job queue; the sort key is the queue's name."""


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds, always of one length, so that texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def moment(text: object) -> datetime | None:
    """A time stamp as stored, in UTC if it names no zone; None for anything else."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def to_float(value: Any) -> float | None:
    """A number as `serialise` stored it, NaN and the infinities included; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
