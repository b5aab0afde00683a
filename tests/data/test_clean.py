"""What makes a receipt sound."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.data.problems import NOTED, ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.data.sources.clean import MIN_EXTENT, clean, is_name, number, sound_box
from tests.data.receipt_strategies import json_values


@given(st.lists(json_values | st.floats(-0.1, 1.1), max_size=5))
def test_any_corners_are_a_box_on_the_page_or_a_problem(corners: list[Any]) -> None:
    """Whatever is given as corners: a box with area inside the page, or exactly one dropping problem."""
    problems = ProblemLog()
    box = sound_box(corners, "r", "w", problems)
    dropping = sum(count for kind, count in problems.counts.items() if kind not in NOTED)
    if box is None:
        assert dropping == 1
    else:
        assert dropping == 0
        assert 0 <= box[0] < box[2] <= 1
        assert 0 <= box[1] < box[3] <= 1


@given(json_values)
def test_a_number_is_finite_or_none(value: Any) -> None:
    """Booleans, texts, NaN and infinities are no numbers; no integer is too large to be asked."""
    found = number(value)
    assert found is None or (math.isfinite(found) and not isinstance(value, bool | str))
    assert number(10**400) is None


def test_a_box_almost_without_area_is_none() -> None:
    """A box thinner than what survives writing as pixels is dropped, not collapsed later."""
    problems = ProblemLog()
    assert sound_box([0.5, 0.5, 0.5 + MIN_EXTENT / 2, 0.6], "r", "w", problems) is None
    assert sound_box([1 - MIN_EXTENT / 2, 0.5, 1.005, 0.6], "r", "w", problems) is None
    assert problems.counts == {ProblemKind.BAD_BOX: 1, ProblemKind.BOX_OUTSIDE_PAGE: 1}


@pytest.mark.parametrize("value", ["", " ", None, 3, "a\nb", "\ud800", "x" * 201])
def test_what_is_no_name(value: Any) -> None:
    """Blank, overlong, control characters and half surrogates name nothing."""
    assert not is_name(value)


@given(st.lists(st.tuples(st.text(max_size=4), st.sampled_from(["VALID", "INVALID", "?"])), max_size=5))
def test_every_label_is_kept_or_counted(pairs: list[tuple[str, str]]) -> None:
    """Labels given = labels kept + labels counted, and what is kept is in the order of names."""
    word = Word("x", (0.1, 0.1, 0.2, 0.2), 0, tuple(WordLabel(*pair) for pair in pairs))
    problems = ProblemLog()
    receipt = clean(Receipt("i", 1, (word,)), problems)
    assert receipt is not None
    kept = receipt.words[0].labels
    lost = (ProblemKind.BAD_LABEL, ProblemKind.BAD_STATUS, ProblemKind.DUPLICATE_LABEL)
    assert len(kept) + sum(problems.counts[kind] for kind in lost) == len(pairs)
    assert [label.name for label in kept] == sorted({label.name for label in kept})
