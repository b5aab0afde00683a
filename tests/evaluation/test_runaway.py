"""Answers that repeat themselves: scored soon, and never the better for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from receipt_trainer.evaluation import documents, teds
from receipt_trainer.evaluation.documents import score_document
from receipt_trainer.evaluation.line_items import MIN_ROWS
from tests.evaluation.answered import ITEMS, document, predict


def rows(count: int) -> list[dict[str, Any]]:
    return [ITEMS[0] | {"description": f"Coffee {n}"} for n in range(count)]


@pytest.mark.parametrize("gold", [1, 150])
@pytest.mark.parametrize("kind", ["repeated", "new", "of other keys"])
def test_three_thousand_rows_are_not_all_looked_at(gold: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pairing and no distance sees more rows than the bound: the loop that models fall into costs no hours."""
    made = {"repeated": [ITEMS[0]] * 3000, "new": rows(3000), "of other keys": [{str(n): n} for n in range(3000)]}
    seen = []

    def watched(work: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        return lambda first, second: (seen.append(len(second)), work(first, second))[1]

    monkeypatch.setattr(documents, "match_rows", watched(documents.match_rows))
    for name in ("edit_distance", "aligned_distance"):
        monkeypatch.setattr(teds, name, watched(getattr(teds, name)))
    score_document(predict(document(line_items=rows(gold)), document(line_items=made[kind])))
    assert len(seen) > 3
    assert max(seen) <= max(MIN_ROWS, 2 * gold)


def test_more_rows_never_score_better() -> None:
    """Past the bound every score of the table falls with each row, and the answer is not valid by the schema."""
    gold = document(line_items=rows(3))
    answers = [document(line_items=rows(count)) for count in (MIN_ROWS, MIN_ROWS + 1, 2 * MIN_ROWS)]
    scores = [score_document(predict(gold, answer)).scores for answer in answers]
    for name in ("teds", "fields", "field.line_items.total"):
        first, second, third = (one[name].value or 0.0 for one in scores)
        assert first > second > third > 0
    assert [one["schema"].hits for one in scores] == [1, 0, 0]
    assert [one["present.line_items.total"].value for one in scores] == [1, 1, 1]


def test_what_comes_after_the_bound_is_wrong() -> None:
    """The right rows behind a wall of wrong ones are not found."""
    gold = document(line_items=rows(3))
    wall = [{"description": "x", "quantity": None, "unit_price": None, "total": None}] * MIN_ROWS
    scores = score_document(predict(gold, document(line_items=wall + rows(3)))).scores
    assert scores["present.line_items.description"].hits == 0
    assert scores["arithmetic.lines"].hits == 0


def test_long_documents_are_read_whole() -> None:
    """A truth of more rows than the bound, read without a mistake, is perfect."""
    long = document(line_items=rows(MIN_ROWS + 50), subtotal=None, tax=None, tax_rate=None, grand_total=None)
    scores = score_document(predict(long, long)).scores
    assert (scores["teds"].value, scores["fields"].value, scores["schema"].value) == (1, 1, 1)
    assert scores["arithmetic.lines"].value == 1
