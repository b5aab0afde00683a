"""Subnets of a network by arithmetic: a pure function of its CIDR."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

MAX_ZONES: Final = 6
"""us-east-1 has six zones, no region has more."""
LARGEST_PREFIX: Final = 16
SMALLEST_PREFIX: Final = 23
"""The public blocks of a /23 are /28, the smallest subnet of a VPC (Amazon VPC User Guide, Subnet CIDR blocks)."""
RESERVED_ADDRESSES: Final = 5
"""Of each subnet: network, router, DNS, one for the future, broadcast (same page)."""

_PRIVATE_BITS: Final = 3
_PUBLIC_BITS: Final = 5


@dataclass(frozen=True)
class SubnetPlan:
    """One CIDR for each zone, in the order of the zones."""

    public: tuple[str, ...]
    private: tuple[str, ...]


def usable_addresses(blocks: tuple[str, ...]) -> int:
    """Addresses that AWS leaves to us in all these subnets together."""
    return sum(IPv4Network(block).num_addresses - RESERVED_ADDRESSES for block in blocks)


def plan(cidr: str, az_count: int) -> SubnetPlan:
    """Cut `cidr` into subnets for `az_count` zones.

    Zone n has the n-th eighth as its private subnet, and the n-th of the eight parts of the last two eighths as its
    public one, for any `az_count`: a zone more or less moves no subnet of another zone. Both are as the settings allow.
    """
    network = IPv4Network(cidr)
    private = list(network.subnets(prefixlen_diff=_PRIVATE_BITS))[:MAX_ZONES]
    public = list(network.subnets(prefixlen_diff=_PUBLIC_BITS))[MAX_ZONES << (_PUBLIC_BITS - _PRIVATE_BITS) :]
    return SubnetPlan(
        public=tuple(str(block) for block in public[:az_count]),
        private=tuple(str(block) for block in private[:az_count]),
    )
