"""Hits in a total: what every score is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `total`. Hits of a graded score (TEDS) are fractions."""

    hits: float = 0.0
    total: float = 0.0

    @property
    def value(self) -> float | None:
        """The share, 0..1; None where there was nothing to hit."""
        return self.hits / self.total if self.total else None

    def __add__(self, other: Share) -> Share:
        return Share(self.hits + other.hits, self.total + other.total)

    def as_dict(self) -> dict[str, float | None]:
        """The value with what it was counted from."""
        return {"value": self.value, "hits": self.hits, "total": self.total}


def one(hit: bool) -> Share:
    """A single try."""
    return Share(float(hit), 1.0)


def add_up(parts: Iterable[Mapping[str, Share]]) -> dict[str, Share]:
    """The sum of each name over all parts (micro average), in the order in which the names first came."""
    sums: dict[str, Share] = {}
    for part in parts:
        for name, share in part.items():
            sums[name] = sums.get(name, Share()) + share
    return sums
