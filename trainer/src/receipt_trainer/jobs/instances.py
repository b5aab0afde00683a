"""The instances table, read: which instances there are, what each does and when it was last heard of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.prices import ListPrices
from receipt_trainer.contract.cost import price_usd_per_h
from receipt_trainer.contract.liveness import STATUS_LOST
from receipt_trainer.contract.tables import INSTANCE_SK, instance_pk, moment

GONE: Final = ("BOOT_FAILED", "ENDED", STATUS_LOST)
"""States of instances that are no more; their rows say why until they expire."""
LATE_AFTER_S: Final = 180.0
"""A worker beats every minute; after three missed beats it is said to be late."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance as its worker, or its failed boot, registered it.

    Attributes:
        status: IDLE, RUNNING, STOPPING or ENDED by the worker; BOOT_FAILED by the boot script; SILENT or LOST by the
            stack, of instances without a heartbeat.
        seen_at: the last heartbeat, or when the boot failed.
        ended_at: when the worker went away, if it said so.
        price_usd_per_h: dollars of an hour; None if it is not known.
        reason: why it is of no use, if it is not.
        is_list_price: the price is not the instance's own but what AWS asks today.
    """

    instance_id: str
    status: str
    pool: str | None
    instance_type: str | None
    availability_zone: str | None
    market: str | None
    price_usd_per_h: float | None
    job_id: str | None
    worker_id: str | None
    started_at: str | None
    seen_at: str | None
    ended_at: str | None
    reason: str | None
    is_list_price: bool = False

    @property
    def is_gone(self) -> bool:
        """Whether the instance is no more."""
        return self.status in GONE

    def is_late(self, now: datetime) -> bool:
        """Whether a worker that should beat has missed its beats."""
        seen = moment(self.seen_at)
        return not self.is_gone and (seen is None or (now - seen).total_seconds() > LATE_AFTER_S)


def list_instances(table: Table, now: datetime) -> list[Instance]:
    """All registered instances, the last heard of first; the entire table is read, a row an instance.

    Rows past their expiry are left out: DynamoDB deletes those up to days later.
    """
    rows = dynamo.scan(
        *table,
        "read the instances",
        FilterExpression="SK = :sk AND (attribute_not_exists(expires_at) OR expires_at > :now)",
        ExpressionAttributeValues={":sk": INSTANCE_SK, ":now": int(now.timestamp())},
        ConsistentRead=True,
    )
    found = [_instance(row) for row in rows]
    return sorted(found, key=lambda one: (one.seen_at or "", one.instance_id), reverse=True)


def with_list_prices(instances: Sequence[Instance], prices: ListPrices) -> list[Instance]:
    """The instances, those on demand without a price with their list price."""
    known = []
    for one in instances:
        row = {name: getattr(one, name) for name in ("market", "availability_zone", "instance_type")}
        price = prices.of_row(row) if one.price_usd_per_h is None else None
        known.append(one if price is None else replace(one, price_usd_per_h=price, is_list_price=True))
    return known


def _instance(row: Mapping[str, Any]) -> Instance:
    def text(*names: str) -> str | None:
        return next((str(row[name]) for name in names if row.get(name)), None)

    same = ("pool", "instance_type", "availability_zone", "market", "job_id", "worker_id", "ended_at", "reason")
    return Instance(
        instance_id=text("instance_id") or str(row["PK"]).removeprefix(instance_pk("")),
        status=text("status", "state") or "UNKNOWN",
        price_usd_per_h=price_usd_per_h(row),
        started_at=text("started_at", "at"),
        seen_at=text("heartbeat_at", "at"),
        is_list_price=False,
        **{name: text(name) for name in same},
    )
