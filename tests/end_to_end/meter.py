"""What a journey has cost so far, reckoned from prices and seconds: AWS's own bill comes a day too late to stop by.

It never reckons less than what was seen: an instance counts from its launch to the first look that no longer finds it,
one whose price is not known counts at `CEILING_USD_PER_H`. Prices: Amazon EC2 and Amazon EBS pricing, us-east-1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

CEILING_USD_PER_H: Final = 0.5
"""An xlarge of the cpu pool costs at most $0.21 on demand in us-east-1, and less than this in any region."""
ADDRESS_USD_PER_H: Final = 0.005
"""A public IPv4 address."""
VOLUME_USD_PER_H: Final = 150 * 0.08 / 730
"""The root volume of an instance, 150 GiB of gp3."""
STANDING_USD_PER_H: Final = 0.01
"""All that stands without an instance: a dozen alarms are $0.002, the rest is for requests and small files."""
START_USD: Final = 0.02
"""Once: the requests of an `up`, an import and a `destroy`, and 300 MB of wheels that lie in S3 for some hours."""
DESTROY_USD: Final = 0.1
"""Kept back: for two instances that still end, and all else until it is destroyed."""
BILLED_S: Final = 60.0
"""An instance is billed for a minute at least."""


@dataclass(frozen=True, slots=True)
class Sight:
    """An instance that is there; `launched_at` in seconds since the epoch, `usd_per_h` None where it is not known."""

    instance_id: str
    launched_at: float
    usd_per_h: float | None


@dataclass(slots=True)
class _Run:
    launched_at: float
    until: float
    usd_per_h: float
    is_there: bool = True

    def usd(self) -> float:
        seconds = max(self.until - self.launched_at, BILLED_S)
        return seconds / 3600 * (self.usd_per_h + ADDRESS_USD_PER_H + VOLUME_USD_PER_H)


class Meter:
    """Looks at what is there, again and again; times are seconds since the epoch and never go back."""

    def __init__(self, max_usd: float, started_at: float) -> None:
        """Nothing is spent but `START_USD`."""
        self.max_usd = max_usd
        self._started_at = self._now = started_at
        self._runs: dict[str, _Run] = {}

    def look(self, sights: Iterable[Sight], now: float) -> None:
        """What is there now: instances that were there before and are not among them have ended meanwhile."""
        self._now = now = max(now, self._now)
        sights = list(sights)
        seen = {sight.instance_id for sight in sights}
        for instance_id, run in self._runs.items():
            if run.is_there:
                run.until = now
                run.is_there = instance_id in seen
        for sight in sights:
            # The dearer of two prices, the earlier of two launches: a spot price moves, and a price that was once not
            # known is no reason to relax.
            price = CEILING_USD_PER_H if sight.usd_per_h is None else sight.usd_per_h
            run = self._runs.setdefault(sight.instance_id, _Run(sight.launched_at, now, price))
            run.until, run.is_there, run.usd_per_h = now, True, max(run.usd_per_h, price)
            run.launched_at = min(run.launched_at, sight.launched_at)

    @property
    def spent_usd(self) -> float:
        """Dollars up to the last look."""
        standing = (self._now - self._started_at) / 3600 * STANDING_USD_PER_H
        return START_USD + standing + sum(run.usd() for run in self._runs.values())

    @property
    def is_over(self) -> bool:
        """Whether it is time to destroy, so that the limit is kept."""
        return self.spent_usd + DESTROY_USD >= self.max_usd

    def __str__(self) -> str:
        return f"about ${self.spent_usd:.2f} of ${self.max_usd:.2f}"
