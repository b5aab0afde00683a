"""The DynamoDB tables: shapes for whoever creates them, keys for whoever reads and writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class TableShape:
    """One table: string keys PK/SK, `num_gsis` indexes GSI1.. with keys GSInPK/GSInSK, all attributes projected.

    Attributes:
        name: suffix of the table's name; the stack puts its prefix before it.
        num_gsis: number of global secondary indexes.
        ttl_attribute: attribute with the expiry in epoch seconds, or None.
    """

    name: str
    num_gsis: int = 0
    ttl_attribute: str | None = None

    def index_names(self) -> list[str]:
        """GSI1, GSI2, ..."""
        return [f"GSI{n}" for n in range(1, self.num_gsis + 1)]

    def create_arguments(self, table_name: str) -> dict[str, Any]:
        """Arguments of DynamoDB's CreateTable for this shape, billed by request."""
        keys = ["PK", "SK"] + [f"{gsi}{part}" for gsi in self.index_names() for part in ("PK", "SK")]
        arguments: dict[str, Any] = {
            "TableName": table_name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in keys],
            "KeySchema": _key_schema("PK", "SK"),
        }
        if self.num_gsis:
            arguments["GlobalSecondaryIndexes"] = [
                {
                    "IndexName": gsi,
                    "KeySchema": _key_schema(f"{gsi}PK", f"{gsi}SK"),
                    "Projection": {"ProjectionType": "ALL"},
                }
                for gsi in self.index_names()
            ]
        return arguments


def _key_schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]


EXPIRES_AT: Final = "expires_at"
"""Attribute of rows that DynamoDB deletes by itself: epoch seconds."""
RECEIPTS = TableShape("receipts", num_gsis=4)
JOBS = TableShape("jobs", num_gsis=2, ttl_attribute=EXPIRES_AT)
INSTANCES = TableShape("instances", ttl_attribute=EXPIRES_AT)
ALL_TABLES = (RECEIPTS, JOBS, INSTANCES)


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
    """Sort key of a trial of a sweep."""
    return f"TRIAL#{number:06d}"


LOOKS_PK = "LOOKS"
"""Partition key of the last look at each job queue; the sort key is the queue's name."""
