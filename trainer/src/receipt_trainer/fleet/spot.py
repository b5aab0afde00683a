"""Spot prices of a pool's types in its zones, now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from receipt_trainer.aws.clients import aws_faults

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client


@dataclass(frozen=True, slots=True)
class SpotPrice:
    """Dollars of an hour of Linux on a spot instance."""

    instance_type: str
    zone: str
    usd_per_h: float


def read_spot_prices(
    client: EC2Client, instance_types: Sequence[str], zones: Collection[str], now: datetime
) -> list[SpotPrice]:
    """The price that holds now for each type and zone that has one, the cheapest first.

    Raises:
        UserError, WorldError: see `receipt_trainer.aws.clients.aws_faults`.
    """
    newest: dict[tuple[str, str], tuple[datetime, float]] = {}
    wanted: Any = list(instance_types)
    with aws_faults("read spot prices"):
        # From now on: EC2 then answers with the price that has held since before.
        pages = client.get_paginator("describe_spot_price_history").paginate(
            InstanceTypes=wanted, ProductDescriptions=["Linux/UNIX"], StartTime=now
        )
        for page in pages:
            for row in page["SpotPriceHistory"]:
                where = str(row["InstanceType"]), row["AvailabilityZone"]
                if where[0] in instance_types and where[1] in zones:
                    found = row["Timestamp"], float(row["SpotPrice"])
                    newest[where] = max(found, newest.get(where, found))
    # Nothing is free: a price of 0 is one that is not known.
    prices = [SpotPrice(*where, price) for where, (_, price) in newest.items() if price > 0]
    return sorted(prices, key=lambda one: (one.usd_per_h, one.instance_type, one.zone))
