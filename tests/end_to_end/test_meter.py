from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.end_to_end.meter import (
    BILLED_S,
    CEILING_USD_PER_H,
    DESTROY_USD,
    START_USD,
    Meter,
    Sight,
)

PRICES = st.one_of(st.none(), st.floats(0, 50))
SIGHTS = st.lists(st.builds(Sight, st.sampled_from("abcd"), st.floats(0, 1000), PRICES), max_size=4)
LOOKS = st.lists(st.tuples(SIGHTS, st.floats(0, 5000)), max_size=8)


def metered(looks: list[tuple[list[Sight], float]], max_usd: float = 2.0) -> tuple[Meter, list[float]]:
    """A meter after so many looks, each so many seconds after the one before; and what was spent after each."""
    meter, now, spent = Meter(max_usd, 1000.0), 1000.0, []
    for sights, seconds in looks:
        now += seconds
        meter.look(sights, now)
        spent.append(meter.spent_usd)
    return meter, spent


@given(LOOKS)
def test_what_is_spent_only_grows(looks: list[tuple[list[Sight], float]]) -> None:
    """No look, whatever it finds, makes it less; before the first one the start is counted already."""
    _, spent = metered(looks)
    assert [START_USD, *spent] == sorted([START_USD, *spent])


@example([([Sight("a", 0.0, None), Sight("a", 180.0, None)], 0.0)], [Sight("a", 0.0, None)], 0.0)
@given(LOOKS, SIGHTS, st.floats(0, 5000))
def test_it_never_reckons_less_than_what_is_seen(
    looks: list[tuple[list[Sight], float]], sights: list[Sight], seconds: float
) -> None:
    """Each instance of the last look has cost its price since its launch, a minute at least, also with no known price.

    An instance id that a look names twice counts once.
    """
    meter, _ = metered([*looks, (sights, seconds)])
    now = 1000.0 + sum(wait for _, wait in looks) + seconds
    launched = {sight.instance_id: sight.launched_at for found, _ in reversed(looks) for sight in reversed(found)}
    last = {sight.instance_id: sight for sight in sights}
    least = sum(
        max(now - launched.get(sight.instance_id, sight.launched_at), BILLED_S)
        / 3600
        * (CEILING_USD_PER_H if sight.usd_per_h is None else sight.usd_per_h)
        for sight in last.values()
    )
    assert meter.spent_usd >= least


@given(LOOKS, st.floats(1, 5000))
def test_what_has_ended_costs_no_more(looks: list[tuple[list[Sight], float]], seconds: float) -> None:
    """An instance counts up to the first look that misses it; then only what stands is left, a cent an hour."""
    meter, _ = metered([*looks, ([], 1.0)])
    before = meter.spent_usd
    meter.look([], 1001.0 + sum(wait for _, wait in looks) + seconds)
    assert meter.spent_usd == pytest.approx(before + seconds / 3600 * 0.01)


def test_the_limit_is_kept_with_the_way_out_paid() -> None:
    """An hour of c7i.xlarge on demand is a fifth of a dollar, and $2 are over when a dime is left for destroying."""
    meter = Meter(2.0, 0.0)
    meter.look([Sight("i-1", 0.0, 0.1785)], 3600.0)
    assert str(meter) == "about $0.23 of $2.00"
    assert not meter.is_over
    meter.look([Sight("i-1", 0.0, 0.1785)], 3600.0 * 9)
    assert 2.0 - DESTROY_USD <= meter.spent_usd < 2.0
    assert meter.is_over
    meter.look([Sight("i-1", 0.0, None)], 3600.0 * 9)
    assert meter.spent_usd > 2.0, "a price that is lost is counted as a high one"
