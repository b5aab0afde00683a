"""Rows of the jobs table, put as they are and read as they were written."""

from __future__ import annotations

from typing import Any

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Item, Table
from receipt_trainer.contract.tables import JOB_SK, job_name_pk, job_order, job_pk, job_status_pk, to_float
from receipt_trainer.jobs.rows import LOGS, METRICS, rows_of


def put_job(table: str, job_id: str, *, name: str, status: str, created_at: str, **attributes: Any) -> None:
    """Write a job's own row over the one that is there, with the keys by which the indexes find it."""
    order = job_order(created_at, job_id)
    keys = {"PK": job_pk(job_id), "SK": JOB_SK, "TYPE": "JOB", "GSI1SK": order, "GSI2SK": order}
    keys |= {"GSI1PK": job_status_pk(status), "GSI2PK": job_name_pk(name)}
    own = {"job_id": job_id, "name": name, "status": status, "created_at": created_at}
    dynamo.put(clients.dynamodb(), table, {**attributes, **own, **keys}, "put a job")


def metrics(table: str, job_id: str, name: str = "") -> list[Item]:
    """The METRIC rows of a job in the order of time, all or those of one name; `value` is a float."""
    found = [row | {"value": to_float(row["value"])} for row in _in_order(table, job_id, METRICS)]
    return [row for row in found if name in ("", row["name"])]


def messages(table: str, job_id: str) -> list[str]:
    """The lines of a job's log in the order of time."""
    return [row["message"] for row in _in_order(table, job_id, LOGS)]


def _in_order(table: str, job_id: str, kind: str) -> list[Item]:
    rows = rows_of(Table(clients.dynamodb(), table), job_id, kind)
    return sorted(rows, key=lambda row: (row["timestamp"], row["seq"]))
