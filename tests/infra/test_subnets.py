"""Subnets by arithmetic."""

from ipaddress import IPv4Network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.network.subnets import MAX_ZONES, plan


@st.composite
def networks(draw: st.DrawFn) -> str:
    prefix = draw(st.integers(16, 23))
    return str(IPv4Network((draw(st.integers(0, 2**prefix - 1)) << (32 - prefix), prefix)))


@given(networks(), st.integers(1, MAX_ZONES))
def test_subnets_lie_inside_apart_and_large_enough(cidr: str, az_count: int) -> None:
    """All subnets are inside the network, none overlaps another, none is below AWS's /28, private ones are larger."""
    subnets = plan(cidr, az_count)
    assert len(subnets.public) == len(subnets.private) == az_count
    blocks = [IPv4Network(block) for block in (*subnets.public, *subnets.private)]
    assert all(block.subnet_of(IPv4Network(cidr)) and block.prefixlen <= 28 for block in blocks)
    assert not any(one.overlaps(other) for one, other in combinations(blocks, 2))
    assert IPv4Network(subnets.private[0]).num_addresses > IPv4Network(subnets.public[0]).num_addresses


@given(networks(), st.integers(2, MAX_ZONES))
def test_another_zone_moves_no_subnet(cidr: str, az_count: int) -> None:
    """The subnets of the first zones do not depend on how many zones follow: growing replaces nothing."""
    more, fewer = plan(cidr, az_count), plan(cidr, az_count - 1)
    assert more.public[:-1] == fewer.public
    assert more.private[:-1] == fewer.private


def test_addresses_without_those_that_aws_keeps() -> None:
    """AWS keeps five addresses of each subnet: two /26 leave 2 x 59."""
    assert plan("10.0.0.0/23", 2).private_addresses == 118


@pytest.mark.parametrize(("cidr", "az_count"), [("10.0.0.0/24", 1), ("10.0.0.0/8", 1), ("10.0.0.0/16", 7), ("x", 1)])
def test_what_cannot_be_cut_is_refused(cidr: str, az_count: int) -> None:
    """A network too small or too large, too many zones, or no network at all is a ValueError, not a wrong subnet."""
    with pytest.raises(ValueError):
        plan(cidr, az_count)
