"""Curves in a terminal."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.reports.terminal_plot import curve, thinned

VALUES = st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), max_size=300)


@pytest.mark.parametrize("size", [(24, 5), (39, 9), (120, 16), (200, 40)])
def test_a_curve_fills_its_place_and_no_more(size: tuple[int, int]) -> None:
    """Whatever the terminal's own size, a curve is as wide and high as it is told, with its title and both ends."""
    steps = list(range(10, 2001, 10))
    text = curve("training loss", steps, [math.exp(-step / 300) for step in steps], *size).plain
    lines = text.rstrip("\n").split("\n")
    assert len(lines) == size[1]
    assert {len(line) for line in lines} == {size[0]}
    assert "training loss" in lines[0]
    assert "10" in lines[-1]
    assert "2,000" in lines[-1]


def test_a_curve_that_falls_is_drawn_falling() -> None:
    """The first dot stands in the top line of the canvas at its left, the last in the bottom line at its right."""
    lines = curve("loss", [1, 2, 3, 4, 5], [5.0, 4.0, 3.0, 2.0, 1.0], 40, 12).plain.split("\n")
    canvas = [line.partition("┤" if "┤" in line else "│")[2] for line in lines if "│" in line]
    dots = [[at for at, character in enumerate(line) if "\u2800" < character <= "\u28ff"] for line in canvas]
    assert min(dots[0]) == 0
    assert max(dots[-1]) == max(max(line) for line in dots)
    assert all(min(below) >= min(above) for above, below in pairwise(dots))


def test_without_a_value_nothing_is_made_up() -> None:
    """No value, and values that are no numbers, are said to be none."""
    for values in ([], [math.nan], [math.inf]):
        assert "no value yet" in curve("F1", list(range(len(values))), values, 40, 8).plain


@settings(max_examples=40)
@given(VALUES, st.integers(24, 90), st.integers(5, 20))
def test_any_values_can_be_drawn(values: list[float], width: int, height: int) -> None:
    """Flat, huge, tiny, few or many: the place is filled and never overrun."""
    lines = curve("x", list(range(len(values))), values, width, height).plain.rstrip("\n").split("\n")
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


@settings(max_examples=40)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=2000), st.integers(4, 200))
def test_thinning_keeps_extremes_and_order(values: list[float], limit: int) -> None:
    """A thinned curve is short enough, in order, keeps its lowest, highest and last value, and invents none."""
    points = list(enumerate(values))
    kept = thinned(points, limit)
    assert len(kept) <= limit + 1
    assert kept == sorted(set(kept))
    assert set(kept) <= set(points)
    assert kept[-1] == points[-1]
    found = [value for _, value in kept]
    assert (min(found), max(found)) == (min(values), max(values))
