"""Predictions on disk, and what is counted from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.answers import Prediction, read_predictions, write_predictions
from receipt_trainer.evaluation.documents import HEADLINES, Evaluation, evaluate, score_document
from receipt_trainer.evaluation.ratio import Share
from receipt_trainer.reports.evaluation_pages import render_evaluation
from tests.evaluation.answered import ITEMS, document, predict


def test_a_perfect_answer() -> None:
    """Every score is 1."""
    scores = score_document(predict(document(), document())).scores
    assert {name: scores[name].value for name in HEADLINES} == dict.fromkeys(HEADLINES, 1.0)


def test_an_answer_in_a_fence() -> None:
    """It fails all but the tolerant scores, which say that only the format was wrong."""
    scores = score_document(predict(document(), f"```json\n{json.dumps(document())}\n```")).scores
    strict = ("parse", "schema", "fields", "teds", "numeric")
    assert [scores[name].value for name in strict] == [0.0] * len(strict)
    assert scores["tolerant.parse"].value == scores["tolerant.fields"].value == 1.0
    assert scores["arithmetic.totals"].value == 0.0


def test_bad_json() -> None:
    """It counts as all wrong, read either way."""
    scores = score_document(predict(document(), '{"vendor": ')).scores
    assert scores["tolerant.parse"] == scores["parse"] == scores["schema"] == Share(0, 1)
    assert scores["fields"] == scores["tolerant.fields"] == Share(0, 29)
    assert scores["teds"] == Share(0, 1)


def test_json_that_is_not_the_schema() -> None:
    """A number as text is read by value and is against the schema; a list is no answer."""
    scores = score_document(predict(document(), document(subtotal="15.00"))).scores
    assert (scores["parse"].value, scores["schema"].value, scores["fields"].value) == (1.0, 0.0, 1.0)
    assert score_document(predict(document(), "[]")).scores["parse"].value == 0.0


def test_sums_over_documents() -> None:
    """Fields are counted over all documents, TEDS is their mean, arithmetic is of all with sums in the truth."""
    long, short = document(), document(line_items=[])
    evaluation = evaluate([predict(long, long, "a"), predict(short, "no", "b")])
    assert evaluation.scores["fields"] == Share(29, 46)
    assert evaluation.scores["teds"] == Share(1, 2)
    assert evaluation.scores["arithmetic.totals"] == Share(1, 2)
    assert evaluation.scores["gold_arithmetic.totals"] == Share(2, 2)


def test_the_worst_documents() -> None:
    """The lowest accuracy first, then permuted rows, which only TEDS sees; perfect ones are not among them."""
    predictions = [
        predict(document(), document(), "right"),
        predict(document(), document(tax=4), "tax"),
        predict(document(), document(line_items=ITEMS[::-1]), "turned"),
        predict(document(), "", "empty"),
    ]
    evaluation = evaluate(predictions)
    assert [one.prediction.id for one in evaluation.worst(9)] == ["empty", "tax", "turned"]
    assert [one.prediction.id for one in evaluation.worst(1)] == ["empty"]


def test_a_truth_that_is_none() -> None:
    """It is an error, not a score."""
    with pytest.raises(UserError, match=r"'x'.*not a JSON object"):
        score_document(Prediction("x", "x.png", "{", "{}", 0.0))


def test_progress_is_told() -> None:
    """Once a document."""
    told: list[tuple[int, int]] = []
    evaluate([predict(document(), "", str(n)) for n in range(3)], lambda *at: told.append(at))
    assert told == [(1, 3), (2, 3), (3, 3)]


_LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["1,5", "€ 3"])
)
_JSON = st.recursive(_LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))
_ODD = st.fixed_dictionaries({}, optional=dict.fromkeys(document(), _JSON))
_ITEMS = st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(ITEMS[0], _JSON)) | _JSON, max_size=4)


@settings(max_examples=60)
@given(_ODD, _ITEMS)
def test_any_answer_is_judged(answer: dict[str, Any], items: list[Any]) -> None:
    """Whatever stands in an answer's fields, it gets scores, all of them shares, and a page can show it."""
    judged = score_document(predict(document(), json.dumps(answer | {"line_items": items})))
    assert all(0 <= share.hits <= share.total for share in judged.scores.values())
    assert judged.scores["fields"].total >= 29
    assert "Worst documents" in render_evaluation(Evaluation([judged]), {"model": "m"}, Path())


@given(st.lists(st.builds(Prediction, st.text(), st.text(), st.text(), st.text(), st.floats(0, 1e6)), min_size=1))
def test_predictions_come_back(predictions: list[Prediction]) -> None:
    """What is written is read again, line separators and quotes of any kind included."""
    from tempfile import TemporaryDirectory

    unique = list({one.id: one for one in predictions}.values())
    with TemporaryDirectory() as folder:
        path = Path(folder) / "p.jsonl"
        write_predictions(path, unique)
        assert read_predictions(path) == unique


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no predictions"),
        ("{}\n", "p.jsonl:1: id, image, gold, text"),
        ("\n[1]\n", "p.jsonl:2: expected an object"),
        ("{\n", "p.jsonl:1: not JSON"),
        ('{"id":"a","image":"","gold":"","text":"","seconds":"x"}\n', "seconds"),
        ('{"id":"a","image":"","gold":"","text":""}\n' * 2, "p.jsonl:2: a second prediction of 'a'"),
        ("\udcff", "UTF-8"),
    ],
)
def test_wrong_files_of_predictions(tmp_path: Path, content: str, reason: str) -> None:
    """Each is refused with its line and the reason."""
    path = tmp_path / "p.jsonl"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=reason):
        read_predictions(path)
    with pytest.raises(UserError, match="No such file"):
        read_predictions(tmp_path / "missing.jsonl")
