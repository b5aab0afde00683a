"""Time and cost of a job, estimated before it is queued; what cannot be found out is reported and stops nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import click

from receipt_trainer.aws import clients
from receipt_trainer.aws.prices import ListPrices, read_spot_prices
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli import stack
from receipt_trainer.cli.render.tables import dollars
from receipt_trainer.contract.outputs import PoolOutputs, StackOutputs
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.fleet.groups import read_groups
from receipt_trainer.jobs.estimate import Estimate, read_history
from receipt_trainer.jobs.model import Job
from receipt_trainer.reports import formatting


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars of an instance hour of a pool, now.

    Attributes:
        usd_per_h: what is paid: of spot the cheapest, else the list price; None: not known.
        on_demand_usd_per_h: list price of the same type.
        fault: why a price is missing.
    """

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


def forecasts(specs: Sequence[Mapping[str, Any]], pool: str | None, table: str | None) -> list[Forecast] | None:
    """One a job, of one pool; None where no stack is named; see `forecaster`."""
    foresee = forecaster(pool, table)
    return [foresee(spec) for spec in specs] if foresee is not None and specs else None


def forecaster(pool: str | None, table: str | None) -> Callable[[Mapping[str, Any]], Forecast] | None:
    """Estimate of a job of the pool, by its resolved spec; None where no stack is named.

    Earlier runs are read once, at the first question, and prices once for each instance type: a handful of requests,
    however many jobs there are.

    Args:
        table: name of the jobs table; None: earlier runs are not known.
    """
    outputs = stack.outputs()
    if outputs is None:
        return None
    from receipt_trainer.jobs.estimate import estimate

    of = {str(name): one for name, one in outputs.pools.items()}.get(pool or "")
    sells = of if stack.local_session() is None else None
    history = cache(lambda: _history(table))
    price = cache(lambda kind: _price(outputs, sells, kind) if sells is not None else None)

    def foresee(spec: Mapping[str, Any]) -> Forecast:
        runs, fault = history()
        one = estimate(spec, runs, None if sells is None else sells.instance_types)
        return Forecast(pool, one if fault is None else replace(one, why=fault), price(one.instance_type))

    return foresee


def _history(table: str | None) -> tuple[list[Any], str | None]:
    if table is None:
        return [], "the jobs table is not known"
    try:
        return read_history(clients.dynamodb(), table), None
    except (UserError, WorldError) as error:
        return [], str(error)


def _price(outputs: StackOutputs, pool: PoolOutputs, kind: str | None) -> Price:
    """Of the type that was measured, else of the pool's cheapest on spot, or its first on demand."""

    prices, listed = ListPrices(), kind or pool.instance_types[0]
    if pool.market != "spot":
        usd = prices.usd_per_h(listed, outputs.region)
        return Price("on_demand", listed, None, usd, usd, prices.fault)
    try:
        group = read_groups(clients.autoscaling(max_attempts=2), [pool.auto_scaling_group])[pool.auto_scaling_group]
        types = [kind] if kind is not None else pool.instance_types
        found = read_spot_prices(clients.ec2(max_attempts=2), types, group.zones, utc_now())
    except (UserError, WorldError) as error:
        return Price("spot", listed, None, None, prices.usd_per_h(listed, outputs.region), str(error))
    if not found:
        return Price("spot", listed, None, None, prices.usd_per_h(listed, outputs.region), "EC2 names no spot price")
    best = found[0]
    on_demand = prices.usd_per_h(best.instance_type, outputs.region)
    return Price("spot", best.instance_type, best.zone, best.usd_per_h, on_demand, prices.fault)


def list_prices(pool: str | None) -> str | None:
    """On-demand prices of a pool's types, as a job's row keeps it, for attempts whose own price is unknown.

    A worker cannot ask for these prices itself. Where they cannot be had, the job's log says so if it matters.
    """

    outputs = stack.outputs()
    if outputs is None or stack.local_session() is not None:
        return None
    of = {str(name): one for name, one in outputs.pools.items()}.get(pool or "")
    prices, types = ListPrices(), of.instance_types if of is not None else []
    found = {kind: price for kind in types if (price := prices.usd_per_h(kind, outputs.region)) is not None}
    return json.dumps(found, sort_keys=True) if found else None


def warn_of_limits(found: Forecast | None, max_hours: float | None, max_usd: float | None) -> None:
    """Say that a job will be stopped before it is done, as far as that can be foreseen."""
    if found is not None:
        for line in limit_lines(found.estimate.seconds, found.usd, max_hours, max_usd):
            click.echo(f"warning: {line}", err=True)


def limit_lines(
    seconds: float | None, usd: float | None, max_hours: float | None, max_usd: float | None
) -> Iterator[str]:
    """Notes on expected values above a limit."""

    if max_hours is not None and seconds is not None and seconds > max_hours * 3600:
        yield f"{formatting.duration(seconds)} are expected, and max_hours {max_hours:g} stops it before"
    if max_usd is not None and usd is not None and usd > max_usd:
        yield f"{dollars(usd)} are expected, and max_usd {max_usd:g} stops it before"


def say(found: Forecast | None) -> None:
    """Print it to standard error: the price in force, then time and dollars."""
    if found is None:
        return
    if found.price is not None:
        click.echo(price_text(found.price), err=True)
    click.echo(f"expected: {expected_text(found)}", err=True)


def price_text(price: Price) -> str:
    """Text of the current price of an instance hour."""
    known = [] if price.usd_per_h is None else [f"${price.usd_per_h:.4f}/h for {price.instance_type}"]
    if known and price.zone is not None:
        known = [f"spot from {known[0]} in {price.zone}"]
    if price.market == "spot" and price.on_demand_usd_per_h is not None:
        known.append(f"on demand ${price.on_demand_usd_per_h:.4f}/h")
    elif known and price.market != "spot":
        known = [f"on demand {known[0]}"]
    missing = f"; not all prices are known: {price.fault}" if price.fault else ""
    return f"price now: {', '.join(known) or 'unknown'}{missing}"


def expected_text(found: Forecast) -> str:
    """Time and dollars, and where they come from."""

    one = found.estimate
    if one.seconds is None:
        return f"unknown: {one.why}"
    limit = "at most " if one.is_at_most else ""
    usd = dollars(found.usd) if found.usd is not None else "unknown dollars"
    cost = "" if found.price is None else f" and {usd}"
    runs = f"{one.num_runs} earlier run{'' if one.num_runs == 1 else 's'}"
    where = f" on {one.instance_type}" if one.instance_type else ""
    rate = f"{one.tokens_per_s or 0:,.0f} tokens/s{where} in {runs}"
    return f"{limit}{formatting.duration(one.seconds)}{cost}, boot not in it ({rate})"


def sum_text(found: Sequence[Forecast]) -> str:
    """The same of many jobs: their sum, and of how many nothing is known."""

    known = [one.estimate.seconds for one in found if one.estimate.seconds is not None]
    unknown = len(found) - len(known)
    if not known:
        return f"unknown: {found[0].estimate.why}"
    usd = [one.usd for one in found if one.usd is not None]
    cost = "" if found[0].price is None else f" and {dollars(sum(usd)) if usd else 'unknown dollars'}"
    more = f", and {unknown} jobs without an estimate" if unknown else ""
    return f"{len(known)} jobs, {formatting.duration(sum(known))} of instance time{cost}, boots not in it{more}"
