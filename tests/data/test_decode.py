from __future__ import annotations

from itertools import groupby, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.data.decode import CHANGE, whole_lines
from receipt_trainer.data.labels import LabelSpace

SPACE = LabelSpace(("DATE", "ADDRESS_LINE", "MERCHANT_NAME"))
words = st.tuples(st.integers(0, 1), st.integers(0, 1), st.lists(st.floats(0.01, 1), min_size=4, max_size=4))


def by_hand(line: np.ndarray) -> np.ndarray:
    """The marginals of a line, from the weight of every labelling that it can have."""
    found = np.zeros_like(line)
    for labels in product(range(4), repeat=len(line)):
        changes = sum(one != other and max(one, other) > 1 for one, other in pairwise(labels))
        found[range(len(line)), labels] += np.exp(-CHANGE * changes) * line[range(len(line)), labels].prod()
    return found / found.sum(axis=1, keepdims=True)


@settings(max_examples=50, deadline=None)
@given(drawn=st.lists(words, max_size=9))
def test_each_line_has_the_marginals_of_all_its_labellings(drawn: list[tuple[int, int, list[float]]]) -> None:
    """Lines of any lengths, also those with one number in receipts beside each other, are read as if each was alone,
    and each as the sum over all labellings says."""
    receipts = np.cumsum([step for step, _, _ in drawn])
    lines = np.cumsum([step for _, step, _ in drawn]) % 3
    alone = np.array([shares for *_, shares in drawn], dtype=np.float32).reshape(-1, 4)
    alone /= alone.sum(axis=1, keepdims=True)
    offsets = [0, *(np.flatnonzero(np.diff(receipts)) + 1), len(drawn)]
    keys = list(zip(receipts, lines, strict=True))
    groups = [list(group) for _, group in groupby(range(len(drawn)), lambda n: keys[n])]
    found = whole_lines(alone, lines.astype(np.int32), offsets, SPACE)
    assert found.shape == alone.shape
    for group in groups:
        assert found[group] == pytest.approx(by_hand(alone[group]), abs=1e-5)


def test_a_hole_in_a_name_is_filled_and_a_date_beside_it_stays() -> None:
    """An unsure word between sure ones of a name is of the name; a sure word of another label beside it stays, and so
    does what has no name beside it; without names among the labels nothing changes."""
    sure, unsure, date = [0.02, 0.01, 0.01, 0.96], [0.6, 0.05, 0.05, 0.3], [0.02, 0.96, 0.01, 0.01]
    probabilities = np.array([sure, unsure, sure, date, [0.6, 0.4, 0, 0], [0.1, 0.9, 0, 0]], dtype=np.float32)
    lines = np.array([0, 0, 0, 0, 1, 1])
    found = whole_lines(probabilities, lines, [0, 6], SPACE)
    assert found.argmax(axis=1).tolist() == [3, 3, 3, 1, 0, 1]
    assert found[4:] == pytest.approx(probabilities[4:])
    nothing = LabelSpace(("DATE", "TIME", "TAX"))
    assert np.array_equal(whole_lines(probabilities, lines, [0, 6], nothing), probabilities)
