"""Prices of instance types: on demand from the AWS Price List Query API, which a laptop alone asks, and spot from EC2.

A worker in a private subnet cannot ask the Price List API: it has endpoints in three regions, and none in the stack's
network. Source: AWS Price List API Reference, GetProducts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import clients
from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

ON_DEMAND: Final = "on_demand"
_ZONE: Final = re.compile(r"([a-z]{2}(?:-[a-z]+)+-\d)[a-z]")
"""A zone of a region; local zones, which have other prices, do not match."""
_HOURLY: Final = ("Hrs", "Hours")


class ListPrices:
    """Dollars of an hour on demand, Linux, shared tenancy. What was asked for once is not asked for again.

    `fault`: why prices cannot be had; once that is known they are not asked for again.
    """

    def __init__(self, fault: str | None = None) -> None:
        self._known: dict[tuple[str, str], float | None] = {}
        self._client: Any = None
        self.fault = fault

    def usd_per_h(self, instance_type: str, region: str) -> float | None:
        """Today's list price; None if it cannot be had, or if AWS names no price or several."""
        asked = (instance_type, region)
        if asked not in self._known and self.fault is None:
            try:
                self._known[asked] = price_in(self._products(*asked), *asked)
            except (UserError, WorldError) as error:
                self.fault = str(error)
        return self._known.get(asked)

    def of_row(self, row: Mapping[str, Any]) -> float | None:
        """For an attempt or an instance that was bought on demand and says where it is; None for any other."""
        place = _ZONE.fullmatch(str(row.get("availability_zone")))
        if row.get("market") != ON_DEMAND or place is None or not row.get("instance_type"):
            return None
        return self.usd_per_h(str(row["instance_type"]), place[1])

    def _products(self, instance_type: str, region: str) -> list[str]:
        wanted = {
            "instanceType": instance_type,
            "regionCode": region,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
            "marketoption": "OnDemand",
        }
        filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
        with clients.aws_faults("read list prices"):
            if self._client is None:
                self._client = clients.pricing()
            answer = self._client.get_products(
                ServiceCode="AmazonEC2", Filters=filters, FormatVersion="aws_v1", MaxResults=20
            )
        return list(answer.get("PriceList") or [])


def price_in(products: Sequence[str], instance_type: str, region: str) -> float | None:
    """The one hourly price in dollars that all products of this type and region have; None if there is no such."""
    found: set[float] = set()
    for text in products:
        try:
            product = json.loads(text)
            about = product["product"]["attributes"]
            if (about["instanceType"], about["regionCode"]) != (instance_type, region):
                continue
            for term in product["terms"]["OnDemand"].values():
                for part in term["priceDimensions"].values():
                    if part["unit"] in _HOURLY:
                        found.add(float(part["pricePerUnit"]["USD"]))
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
    prices = {price for price in found if 0 < price < float("inf")}
    return prices.pop() if len(prices) == 1 else None


@dataclass(frozen=True, slots=True)
class SpotPrice:
    """Dollars of an hour of Linux on a spot instance."""

    instance_type: str
    zone: str
    usd_per_h: float


def read_spot_prices(
    client: EC2Client, instance_types: Sequence[str], zones: Collection[str], now: datetime
) -> list[SpotPrice]:
    """The price that holds now for each type and zone that has one, the cheapest first."""
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
