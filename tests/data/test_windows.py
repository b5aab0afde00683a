"""Windows: every word owned once, none too long, lines kept apart."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.data.encode import Window, cut
from receipt_trainer.data.receipt import Receipt, Word

Kind = Literal["line", "receipt"]


def receipt_of(line_numbers: list[int]) -> Receipt:
    return Receipt("i", 1, tuple(Word("w", (0.1, 0.1, 0.2, 0.2), line) for line in line_numbers))


@st.composite
def pieces(draw: st.DrawFn) -> tuple[Receipt, list[int], int, int]:
    """A receipt, the sub-tokens of its words, a budget and an overlap that may be larger than the budget."""
    budget = draw(st.integers(1, 40))
    lengths = draw(st.lists(st.integers(1, budget) | st.just(1), max_size=60))
    steps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 3]), min_size=len(lengths), max_size=len(lengths)))
    numbers = [sum(steps[: index + 1]) for index in range(len(steps))]
    return receipt_of(numbers), lengths, budget, draw(st.integers(0, 60))


kinds = st.sampled_from(["line", "receipt"])


@given(pieces(), kinds)
def test_every_word_is_owned_by_exactly_one_window(case: tuple[Receipt, list[int], int, int], kind: Kind) -> None:
    """The owned ranges, one after another, are all words; each lies in its window and none is empty."""
    receipt, lengths, budget, overlap = case
    windows = cut(receipt, lengths, kind, budget, overlap)
    owned = [index for window in windows for index in range(window.own_start, window.own_stop)]
    assert owned == list(range(len(lengths)))
    for window in windows:
        assert window.start <= window.own_start < window.own_stop <= window.stop


@given(pieces(), kinds)
def test_no_window_is_above_the_budget(case: tuple[Receipt, list[int], int, int], kind: Kind) -> None:
    """The sub-tokens of a window fit into the model, and windows go on: each begins and ends after the one before."""
    receipt, lengths, budget, overlap = case
    windows = cut(receipt, lengths, kind, budget, overlap)
    assert all(sum(lengths[window.start : window.stop]) <= budget for window in windows)
    assert all(left.start < right.start and left.stop < right.stop for left, right in pairwise(windows))
    assert len(windows) <= len(lengths)


@given(pieces())
def test_line_windows_never_cross_a_line(case: tuple[Receipt, list[int], int, int]) -> None:
    """A window of line examples holds words of one line, and a line that fits is one window."""
    receipt, lengths, budget, overlap = case
    windows = cut(receipt, lengths, "line", budget, overlap)
    lines = [word.line for word in receipt.words]
    assert all(len(set(lines[window.start : window.stop])) == 1 for window in windows)
    for line, group in groupby(range(len(lines)), key=lambda index: lines[index]):
        words = list(group)
        if sum(lengths[index] for index in words) <= budget:
            expected = Window(words[0], words[-1] + 1, words[0], words[-1] + 1)
            assert [window for window in windows if lines[window.start] == line] == [expected]


@given(pieces(), kinds)
def test_neighbours_share_at_most_the_overlap(case: tuple[Receipt, list[int], int, int], kind: Kind) -> None:
    """Neighbouring windows share no more sub-tokens than asked, with no overlap none, and no gap lies between them."""
    receipt, lengths, budget, overlap = case
    for left, right in pairwise(cut(receipt, lengths, kind, budget, overlap)):
        assert right.start <= left.stop
        assert sum(lengths[right.start : left.stop]) <= overlap


def test_the_overlap_is_used() -> None:
    """With words of one sub-token, windows share exactly what is asked and meet in its middle."""
    windows = cut(receipt_of([0] * 20), [1] * 20, "receipt", 10, 4)
    assert windows == [Window(0, 10, 0, 8), Window(6, 16, 8, 14), Window(12, 20, 14, 20)]


def test_a_receipt_without_words_has_no_window() -> None:
    """Nothing in, nothing out, for both kinds."""
    assert cut(receipt_of([]), [], "receipt", 10, 4) == cut(receipt_of([]), [], "line", 10, 4) == []


class Counted(list[int]):
    """Lengths that count how often one of them is looked at."""

    looks = 0

    def __getitem__(self, index: Any) -> Any:
        self.looks += 1
        return super().__getitem__(index)


def test_long_receipts_take_linear_time() -> None:
    """Of 100,000 words each is looked at a few times."""
    lengths = Counted([3] * 100_000)
    cut(receipt_of([0] * len(lengths)), lengths, "receipt", 510, 128)
    assert lengths.looks < 5 * len(lengths)
