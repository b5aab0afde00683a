"""With which bounds a pool is started."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.errors import UserError
from receipt_trainer.fleet.groups import Group, bounds_for_start

BOUND = st.none() | st.integers(0, 100)


def group(minimum: int = 0, maximum: int = 0) -> Group:
    """A group with these bounds and nothing in it."""
    return Group("workers", minimum, minimum, maximum, (), (), ())


@pytest.mark.parametrize(
    ("in_force", "given_", "expected"),
    [
        ((0, 0), (None, None), (0, 1)),
        ((0, 4), (None, None), (0, 4)),
        ((1, 4), (None, 2), (1, 2)),
        ((0, 0), (2, None), (2, 2)),
        ((0, 0), (0, 4), (0, 4)),
    ],
)
def test_bounds_to_start_with(
    in_force: tuple[int, int], given_: tuple[int | None, int | None], expected: tuple[int, int]
) -> None:
    """What is given, else what is in force; a pool at rest may have one instance."""
    assert bounds_for_start(group(*in_force), "gpu", *given_) == expected


@pytest.mark.parametrize(("given_", "names"), [((3, 2), "--min-instances 3 is above"), ((None, 0), "use --stop")])
def test_bounds_that_cannot_be(given_: tuple[int | None, int | None], names: str) -> None:
    """A minimum above the maximum, and a start that starts nothing, are refused with what to do."""
    with pytest.raises(UserError, match=names):
        bounds_for_start(group(0, 4), "gpu", *given_)


def test_a_minimum_in_force_is_named() -> None:
    """Who gives only a maximum is told where the minimum above it comes from."""
    with pytest.raises(UserError, match=r"\(the minimum of pool cpu in force\) is above --max-instances 1"):
        bounds_for_start(group(3, 4), "cpu", None, 1)


@given(st.integers(0, 100), st.integers(0, 100), BOUND, BOUND)
def test_a_pool_that_is_started_can_launch(low: int, more: int, minimum: int | None, maximum: int | None) -> None:
    """Either the bounds are refused or they are in order, admit an instance, and are those that were given."""
    try:
        least, most = bounds_for_start(group(low, low + more), "gpu", minimum, maximum)
    except UserError:
        return
    assert 0 <= least <= most
    assert most >= 1
    assert minimum in (None, least)
    assert maximum in (None, most)
