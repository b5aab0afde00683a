"""Two models on the same documents."""

from __future__ import annotations

import pytest

from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.compare import compare
from receipt_trainer.evaluation.documents import Evaluation, evaluate
from tests.evaluation.answered import document, predict


def answers(wrong: int, count: int = 20) -> Evaluation:
    """`count` documents, the first `wrong` of them not answered."""
    gold = [document(invoice_number=f"N{n}") for n in range(count)]
    return evaluate(predict(one, "" if n < wrong else one, f"d{n}") for n, one in enumerate(gold))


def test_a_clear_gain() -> None:
    """Twelve of twenty documents gained: better, with an interval around 0.6 of the fields."""
    found = compare(answers(12), answers(0))
    rows = {row.name: row for row in found.headlines}
    interval = rows["fields"].interval
    assert interval is not None
    assert interval.difference == pytest.approx(0.6)
    assert interval.low is not None
    assert interval.high is not None
    assert 0.3 < interval.low < 0.6 < interval.high < 0.85
    assert rows["fields"].verdict == "better: the interval excludes 0"
    assert {row.name for row in found.fields} >= {"field.vendor.name", "field_region.totals"}
    assert (len(found.improvements), len(found.regressions)) == (6, 0)


def test_a_loss() -> None:
    """The same the other way round."""
    found = compare(answers(0), answers(12))
    assert found.headlines[0].verdict == "worse: the interval excludes 0"
    assert [pair[1].accuracy for pair in found.regressions] == [0.0] * 6


def test_no_difference_shown() -> None:
    """One document of twenty is not enough."""
    assert "holds 0" in compare(answers(1), answers(0)).headlines[0].verdict
    assert "holds 0" in compare(answers(3), answers(3)).headlines[0].verdict


def test_too_few_documents() -> None:
    """Nothing is said of nine documents, however clear they look."""
    assert compare(answers(9, 9), answers(0, 9)).headlines[0].verdict == "cannot be said: fewer than 10 documents"


def test_a_score_that_nobody_has() -> None:
    """Where no truth has the parts of a sum there is no arithmetic: nothing is said about it."""
    empty = evaluate(predict(document(subtotal=None), document(), f"d{n}") for n in range(20))
    rows = {row.name: row for row in compare(empty, empty).headlines}
    assert rows["arithmetic.totals"].interval is None
    assert rows["arithmetic.totals"].verdict == "cannot be said: a model has no such score"


def test_rows_that_only_one_side_makes_up() -> None:
    """A table that the truth does not have is compared whichever model invents it."""
    gold = [(document(line_items=[]), f"d{n}") for n in range(20)]
    right = evaluate(predict(one, one, name) for one, name in gold)
    wrong = evaluate(predict(one, document(), name) for one, name in gold)
    for pair in ((right, wrong), (wrong, right)):
        assert "field.line_items.total" in {row.name for row in compare(*pair).fields}


def test_the_order_of_documents_does_not_count() -> None:
    """Documents are paired by their ids."""
    turned = Evaluation(answers(0).documents[::-1])
    assert compare(answers(12), turned).as_dict() == compare(answers(12), answers(0)).as_dict()


def test_other_documents_are_refused() -> None:
    """Other ids, or another truth under the same id."""
    with pytest.raises(UserError, match="d18, d19 stand in one only"):
        compare(answers(0, 20), answers(0, 18))
    other = evaluate([predict(document(invoice_number="M"), "", "d0")])
    with pytest.raises(UserError, match="different truths for 'd0'"):
        compare(answers(0, 1), other)
