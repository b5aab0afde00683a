"""Cost of a job: the seconds of its attempts at the price of the instance that each ran on.

Needs the standard library alone: a function of the stack reckons with it, too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from receipt_trainer.contract.tables import moment


@dataclass(frozen=True, slots=True)
class Cost:
    """Time and money of a job's attempts.

    Attributes:
        seconds: of all attempts, a running one up to now, one whose worker vanished up to the end of its lease.
        usd: dollars of the attempts whose price is known; None if none is.
        num_unknown: attempts without a price, such as those on a laptop.
        num_at_list_price: attempts on demand, whose dollars are at a list price of today.
    """

    seconds: float
    usd: float | None
    num_attempts: int
    num_unknown: int
    num_at_list_price: int = 0


ListPrice = Callable[[Mapping[str, Any]], float | None]
"""Dollars of an hour of the instance that a row names, today; see `receipt_trainer.aws.prices`."""


def of_attempts(attempts: Sequence[Mapping[str, Any]], now: datetime, list_price: ListPrice | None = None) -> Cost:
    """The cost of ATTEMPT rows in their order; `price_usd_per_h` is the price of an instance hour.

    A running one is counted up to `now`, see `open_until`; `list_price` is asked for the price of a row that has none.
    """
    return total(of_each(attempts, now, list_price))


class Part(NamedTuple):
    """Time and money of one attempt or instance; None: not known; `is_listed`: at a list price of today."""

    seconds: float | None
    usd: float | None
    is_listed: bool = False


def of_each(
    attempts: Sequence[Mapping[str, Any]], now: datetime, list_price: ListPrice | None = None
) -> Iterator[Part]:
    """The parts of `of_attempts`."""
    for row, follower in zip(attempts, [*attempts[1:], None], strict=False):
        spent_s, (price, is_listed) = seconds(row, now, follower), price_and_source(row, list_price)
        yield Part(spent_s, None if price is None or spent_s is None else spent_s * price / 3600, is_listed)


def total(parts: Iterable[Part]) -> Cost:
    """Their sum."""
    every = list(parts)
    known = [part for part in every if part.usd is not None]
    usd = sum(part.usd or 0.0 for part in known) if known else None
    num_listed = sum(part.is_listed for part in known)
    return Cost(sum(part.seconds or 0.0 for part in every), usd, len(every), len(every) - len(known), num_listed)


def price_and_source(row: Mapping[str, Any], list_price: ListPrice | None) -> tuple[float | None, bool]:
    """The price of an instance hour, and whether it is a list price of today and not that of the row."""
    recorded = price_usd_per_h(row)
    if recorded is not None or list_price is None:
        return recorded, False
    listed = list_price(row)
    return listed, listed is not None


def price_usd_per_h(row: Mapping[str, Any]) -> float | None:
    """The price of an instance hour in a row of an attempt or an instance; None if it is not known: none is free."""
    price = row.get("price_usd_per_h")
    if isinstance(price, bool) or not isinstance(price, int | float):
        return None
    return float(price) if 0 < price <= sys.float_info.max else None


def read_prices(text: object) -> dict[str, float]:
    """The list prices that a job's row keeps, by instance type; empty if there are none that can be read."""
    try:
        said = json.loads(str(text))
    except ValueError:
        return {}
    pairs = said.items() if isinstance(said, dict) else ()
    return {str(name): price for name, value in pairs if (price := price_usd_per_h({"price_usd_per_h": value}))}


def seconds(attempt: Mapping[str, Any], now: datetime, follower: Mapping[str, Any] | None = None) -> float | None:
    """How long an attempt took, up to `now` if it runs still; None if it does not say when it began.

    A vanished worker's attempt has no `ended_at`: it is counted up to the start of the next one at most.
    """
    began = moment(attempt.get("started_at"))
    if began is None:
        return None
    ended = moment(attempt.get("ended_at")) or moment((follower or {}).get("started_at")) or now
    return max(0.0, (ended - began).total_seconds())


def open_until(now: datetime, lease_expires_at: object) -> datetime:
    """The end to which a running attempt is counted: now, or the end of its job's lease if that is past."""
    lease_end = moment(lease_expires_at)
    return now if lease_end is None else min(now, lease_end)
