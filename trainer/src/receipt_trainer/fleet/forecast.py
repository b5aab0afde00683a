"""Time and cost of a job, estimated before it is queued; what cannot be found out is reported and stops nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.prices import ListPrices, read_spot_prices
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract.outputs import PoolOutputs, StackOutputs
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.fleet.groups import read_groups
from receipt_trainer.jobs.estimate import Estimate, estimate, read_history
from receipt_trainer.jobs.model import Job


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars of an instance hour of a pool, now: of spot the cheapest, else the list price; why a price is missing."""

    market: str
    instance_type: str
    zone: str | None = None
    usd_per_h: float | None = None
    on_demand_usd_per_h: float | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The estimate before a job is queued; `price` is None where nothing is sold, as in the local session."""

    pool: str | None
    estimate: Estimate
    price: Price | None

    @property
    def usd(self) -> float | None:
        """Dollars, boots not in it; None: unknown."""
        price = self.price.usd_per_h if self.price is not None else None
        seconds = self.estimate.seconds
        return None if price is None or seconds is None else seconds / 3600 * price

    def put_into(self, job: Job) -> Job:
        """The job with what it will take in its row."""
        return replace(job, expected_s=self.estimate.seconds, expected_usd=self.usd)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        price = asdict(self.price) if self.price is not None else None
        return asdict(self.estimate) | {"usd": self.usd, "pool": self.pool, "price": price}


def forecaster(
    outputs: StackOutputs, pool: str | None, table: str | None, *, is_sold: bool = True
) -> Callable[[Mapping[str, Any]], Forecast]:
    """Estimates jobs of one pool by their resolved specs.

    Earlier runs are read once, at the first question, and prices once for each instance type: a handful of requests,
    however many jobs there are.

    Args:
        table: name of the jobs table; None: earlier runs are not known.
        is_sold: whether instances cost anything; in the local session they do not.
    """
    sold = pool_of(outputs, pool) if is_sold else None

    @cache
    def history() -> tuple[list[Any], str | None]:
        if table is None:
            return [], "the jobs table is not known"
        try:
            return read_history(Table(clients.dynamodb(), table)), None
        except (UserError, WorldError) as error:
            return [], str(error)

    @cache
    def price(kind: str | None) -> Price | None:
        return None if sold is None else _price(sold, outputs.region, kind)

    def foresee(spec: Mapping[str, Any]) -> Forecast:
        runs, fault = history()
        one = estimate(spec, runs, None if sold is None else sold.instance_types)
        return Forecast(pool, one if fault is None else replace(one, why=fault), price(one.instance_type))

    return foresee


def _price(pool: PoolOutputs, region: str, kind: str | None) -> Price:
    """Of the type that was measured, else of the pool's cheapest on spot, or its first on demand."""
    prices, listed, fault = ListPrices(), kind or pool.instance_types[0], "EC2 names no spot price"
    if pool.market == "spot":
        name = pool.auto_scaling_group
        try:
            zones = read_groups(clients.autoscaling(max_attempts=2), [name])[name].zones
            types = [kind] if kind is not None else pool.instance_types
            found = read_spot_prices(clients.ec2(max_attempts=2), types, zones, utc_now())
        except (UserError, WorldError) as error:
            found, fault = [], str(error)
        if not found:
            return Price("spot", listed, None, None, prices.usd_per_h(listed, region), fault)
        best = found[0]
        usd = prices.usd_per_h(best.instance_type, region)
        return Price("spot", best.instance_type, best.zone, best.usd_per_h, usd, prices.fault)
    usd = prices.usd_per_h(listed, region)
    return Price("on_demand", listed, None, usd, usd, prices.fault)


def pool_of(outputs: StackOutputs, name: str | None) -> PoolOutputs | None:
    """The stack's pool of this name; None if it has no such pool."""
    return next((pool for there, pool in outputs.pools.items() if there == name), None)


def list_prices(outputs: StackOutputs, pool: str | None) -> str | None:
    """On-demand prices of a pool's types, as a job's row keeps it, for attempts whose own price is unknown.

    A worker cannot ask for these prices itself. Where they cannot be had, the job's log says so if it matters.
    """
    prices, there = ListPrices(), pool_of(outputs, pool)
    types = there.instance_types if there is not None else []
    found = {kind: price for kind in types if (price := prices.usd_per_h(kind, outputs.region)) is not None}
    return json.dumps(found, sort_keys=True) if found else None
