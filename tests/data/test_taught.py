"""What words teach: labels that wait for a judgement, receipts that nobody has confirmed whole, and all others."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.data.decode import receipt_predictions
from receipt_trainer.data.encode import IGNORED, EncodedSplit, downsample, encode
from receipt_trainer.data.gold_words import align
from receipt_trainer.data.labels import LabelSpace, to_bio
from receipt_trainer.data.prepare import prepare
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import UNKNOWN, Receipt, Review, Word, WordLabel
from receipt_trainer.data.snapshot import META, fingerprint, load, save
from receipt_trainer.data.sources.dynamodb.assemble import content_hash
from receipt_trainer.data.sources.record import parse_record, to_record
from receipt_trainer.evaluation.calibration import calibrate
from receipt_trainer.extraction.document_import import Converter, import_receipts
from receipt_trainer.models.layoutlm.metrics import confusion, score
from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve
from receipt_trainer.reports.word_errors import judged

TOKENIZER: Any = load_tokenizer(resolve("tiny"))
SPACE = LabelSpace(("DATE", "TAX"))
EARLY, LATE = "2026-01-01T00:00:00.000000+00:00", "2026-02-01T00:00:00.000000+00:00"
CONFIRMED, PARTIAL = Review(True, "ann", EARLY), Review(False, "ann", EARLY)


def word(text: str, *labels: WordLabel, line: int = 0, place: int = 0) -> Word:
    return Word(text, (0.05 * place, 0.1 * line, 0.05 * place + 0.04, 0.1 * line + 0.05), line, labels)


def receipt(*words: Word, review: Review | None = None, name: str = "r") -> Receipt:
    placed = tuple(
        replace(each, box=(0.05 * n, each.box[1], 0.05 * n + 0.04, each.box[3])) for n, each in enumerate(words)
    )
    return Receipt(name, 1, placed, name, width=1000, height=1000, review=review)


def encoded(*receipts: Receipt, examples: str = "line") -> EncodedSplit:
    return encode(receipts, SPACE, TOKENIZER, DataConfig.model_validate({"examples": examples}))


def targets(split: EncodedSplit) -> list[int]:
    """The target of each word, in the words' order."""
    at = np.flatnonzero(split.examples.words >= 0)
    order = np.argsort(split.examples.words[at], kind="stable")
    return [int(target) for target in split.examples.targets[at][order]]


def valid(name: str, added: str = "") -> WordLabel:
    return WordLabel(name, added=added)


@pytest.mark.parametrize("status", ["PENDING", "NEEDS_REVIEW"])
@pytest.mark.parametrize("review", [None, CONFIRMED, PARTIAL])
def test_a_word_that_waits_for_a_judgement_teaches_nothing(status: str, review: Review | None) -> None:
    """Neither its label nor `O` is learned or scored, whatever else is said of the receipt."""
    split = encoded(receipt(word("a", WordLabel("DATE", status, "model")), word("b", valid("TAX")), review=review))
    assert targets(split) == [IGNORED, 3]
    assert split.words.gold.tolist() == [IGNORED, 2]
    assert (split.examples.num_outside.tolist(), split.examples.num_entity.tolist()) == ([0], [1])


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ((valid("DATE", LATE), WordLabel("TAX", "PENDING", "m", EARLY)), "DATE"),
        ((valid("DATE", EARLY), WordLabel("TAX", "PENDING", "m", LATE)), UNKNOWN),
        ((valid("DATE", EARLY), WordLabel("TAX", "PENDING", "m", EARLY)), "DATE"),  # of one import
        ((valid("DATE"), WordLabel("TAX", "NEEDS_REVIEW")), "DATE"),  # a file says no times
        ((WordLabel("DATE", "INVALID", "m", LATE), WordLabel("TAX", "PENDING", "m", EARLY)), UNKNOWN),
        ((WordLabel("DATE", "INVALID"), WordLabel("TAX", "NONE")), "O"),
        ((), "O"),
    ],
)
def test_the_newest_label_decides(labels: tuple[WordLabel, ...], wanted: str) -> None:
    """A VALID label counts unless an open one is newer; with INVALID ones alone a word is none."""
    assert receipt(word("a", *labels)).taught_labels() == [wanted]


def test_a_receipt_that_nobody_confirmed_teaches_its_labelled_words_alone() -> None:
    """Words without a label are left out of loss and score; that one is none can be said of it by a label, `O`."""
    words = (word("a"), word("b", valid("DATE")), word("c", valid("O")), word("d", WordLabel("TAX", "INVALID")))
    assert targets(encoded(receipt(*words, review=PARTIAL))) == [IGNORED, 1, 0, IGNORED]
    assert targets(encoded(receipt(*words, review=CONFIRMED))) == [0, 1, 0, 0]


statuses = st.sampled_from(["VALID", "INVALID", "NONE"])
old_words = st.lists(
    st.tuples(st.sampled_from("abc"), st.lists(st.tuples(st.sampled_from(["DATE", "TAX", "TIME"]), statuses))),
    min_size=1,
    max_size=8,
)


@given(old_words, st.sampled_from([None, CONFIRMED]))
def test_receipts_without_any_mark_are_taught_as_before(
    given_words: list[tuple[str, list[tuple[str, str]]]], review: Review | None
) -> None:
    """Of a receipt without a review and without open labels each word has its VALID label's tag, or `O`; so have those
    that are confirmed whole."""
    words = [word(text, *(WordLabel(*each) for each in labels)) for text, labels in given_words]
    labels = [min((name for name, status in each if status == "VALID"), default="O") for _, each in given_words]
    labels = [label if label in SPACE.labels else "O" for label in labels]
    split = encoded(receipt(*words, review=review))
    assert targets(split) == [SPACE.tags.index(tag) for tag in to_bio(labels)]
    assert split.words.scored.all()
    assert downsample(split.examples, None, 0).tolist() == [0]


def old_records() -> list[dict[str, Any]]:
    """Lines as version 0.1.0 has them: labels that people set, some of them judged wrong, and no mark."""
    judged = [["DATE", "VALID"], None, ["TAX", "INVALID"], ["GRAND_TOTAL", "VALID"], ["GRAND_TOTAL", "VALID"]]
    labels = [*judged, ["TIME", "NONE"]]
    return [
        {
            **{"id": f"r{n}", "source": ("", "sroie", "mine")[n % 3], "split": "", "width": 400, "height": 600},
            "words": [
                {
                    "text": f"{chr(97 + (7 * n + 3 * k) % 26) * (1 + k % 4)}{n * k}",
                    "box": [10 + 60 * (k % 3), 20 * k + n, 60 + 60 * (k % 3), 20 * k + n + 15],
                    "line": k // 3,
                }
                | ({"labels": [label]} if (label := labels[(n + k) % 6]) else {})
                for k in range(8 + n)
            ],
        }
        for n in range(8)
    ]


def test_what_version_0_1_0_taught_is_taught_to_the_bit(tmp_path: Path) -> None:
    """All that the model sees of receipts without marks, and what an import compares, has the hashes that the code had
    before there were marks."""
    path = tmp_path / "old.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in old_records()))
    prepared = prepare(DataConfig(dataset_name=str(path)), TOKENIZER, table=None)
    assert fingerprint(prepared) == "3d3aa1ac08d0e43ab42ed8e509c7d6011bf99663d9878dce125d6e4ee882eae5"
    found = [parse_record(record, "x", ProblemLog()) for record in old_records()]
    hashes = "".join(content_hash(each) for each in found if each is not None)
    assert hashlib.sha256(hashes.encode()).hexdigest().startswith("fae17ecf7ffd93440cc8757c48efe612")
    save(prepared, DataConfig(dataset_name=str(path)), tmp_path / "snapshot")
    assert json.loads((tmp_path / "snapshot" / META).read_text())["version"] == 1


def test_a_snapshot_keeps_unknown_words(tmp_path: Path) -> None:
    """It is read as it was saved; its version is one that older programs refuse, since they would score such words."""
    path, marked = tmp_path / "new.jsonl", {"confirmed": False, "by": "ann", "at": EARLY}
    path.write_text("".join(json.dumps(record | {"review": marked}) + "\n" for record in old_records()))
    config = DataConfig(dataset_name=str(path))
    prepared = prepare(config, TOKENIZER, table=None)
    assert prepared.counts["train"]["words_left_out"] > 0
    save(prepared, config, tmp_path / "snapshot")
    assert json.loads((tmp_path / "snapshot" / META).read_text())["version"] == 2
    again = load(tmp_path / "snapshot", config, prepared.tokenizer_hash)
    assert fingerprint(again) == fingerprint(prepared)
    assert not again.train.words.scored.all()


def test_gold_of_which_not_all_is_known_is_passed_on_as_such() -> None:
    """A photo that takes the labels of a receipt that nobody confirmed is not confirmed either."""
    gold = receipt(word("total", valid("DATE")), word("other"), review=PARTIAL)
    found = align(replace(gold, words=tuple(replace(each, labels=()) for each in gold.words), review=None), gold)
    assert found.receipt.taught_labels() == ["DATE", UNKNOWN]


def test_documents_are_made_of_receipts_that_are_known_whole(tmp_path: Path) -> None:
    """A field whose words nobody has judged would be taught as missing: such receipts are left out and counted."""
    for name in ("whole", "part"):
        (tmp_path / f"{name}.png").write_bytes(b"\x89PNG")
    labelled = [word("12.50", valid("GRAND_TOTAL")), word("b")]
    receipts = [receipt(*labelled, name="whole"), receipt(*labelled, name="part", review=PARTIAL)]
    done = import_receipts(receipts, tmp_path, tmp_path / "out", converter := Converter(), split=1.0)
    assert (done.train, done.val, done.without_image) == (1, 0, 0)
    assert converter.counts == {"document: labels of some words are not known": 1}


def test_an_unknown_word_ends_an_entity_in_training_and_in_scores() -> None:
    """DATE ? DATE are two entities, on both sides; what is predicted for the unknown word counts nowhere."""
    split = encoded(
        receipt(word("a", valid("DATE")), word("b"), word("c", valid("DATE")), word("d", valid("DATE")), review=PARTIAL)
    )
    assert targets(split) == [1, IGNORED, 1, 2]
    for guess in range(3):
        overall, _ = score(split.words, np.array([1, guess, 1, 1], np.int32), SPACE)
        assert (overall.f1, overall.support) == (1.0, 2)
    matrix = confusion(split.words, np.array([1, 2, 2, 1], np.int32), SPACE)
    assert np.array(matrix.counts).tolist() == [[0, 0, 0], [0, 2, 1], [0, 0, 0]]


def test_examples_without_a_known_word_are_not_trained_on_but_read() -> None:
    """A line of which nothing is known is no training example; the model still reads all of its words."""
    split = encoded(receipt(word("a", valid("DATE")), word("b", line=1), word("c", line=2), review=PARTIAL))
    assert len(split.examples) == 3
    for ratio in (None, 0.0, 5.0):
        assert downsample(split.examples, ratio, 0).tolist() == [0]
    assert sorted(split.examples.words[split.examples.words >= 0]) == [0, 1, 2]


def test_windows_keep_unknown_words_out() -> None:
    """However a receipt is cut, an unknown word is seen and never a target."""
    words = [word(f"w{n}", *([valid("TAX")] if n % 3 == 0 else [])) for n in range(30)]
    config = DataConfig.model_validate({"examples": "receipt", "max_length": 16, "window_stride": 6})
    split = encode([receipt(*words, review=PARTIAL)], SPACE, TOKENIZER, config)
    assert targets(split) == [3 if n % 3 == 0 else IGNORED for n in range(30)]
    assert int(split.examples.num_entity.sum()) == 10
    assert int(split.examples.num_outside.sum()) == 0


def test_predictions_say_which_words_are_not_scored() -> None:
    """An unknown word is in the predictions with what was read, counts as no error, and old lines read as scored."""
    split = encoded(receipt(word("a", valid("DATE")), word("b"), review=PARTIAL))
    probabilities = np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], np.float32)
    (found,) = receipt_predictions(split.words, probabilities, np.array([1, 2], np.int32), SPACE)
    assert [(each.pred, each.scored) for each in found.words] == [("DATE", True), ("TAX", False)]
    assert judged(found).num_wrong == 0
    assert '"scored"' not in found.words[0].model_dump_json()
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_calibration_leaves_unknown_words_out() -> None:
    """Whatever the model says of unknown words, the fit is the same as without them."""
    draw = np.random.default_rng(1)
    receipts, probabilities = [], []
    for n in range(40):
        receipts.append(
            receipt(word("10", valid("TAX")), word("x", valid("O")), word("y", line=1), review=PARTIAL, name=f"r{n}")
        )
        sure = float(draw.uniform(0.4, 0.9))
        probabilities.append([[1 - sure, 0.0, sure], [sure, 1 - sure, 0.0], [0.0, 1.0, 0.0]])
    words = encoded(*receipts).words
    one = np.array(probabilities, np.float32).reshape(-1, 3)
    other = one.copy()
    other[2::3] = [0.98, 0.01, 0.01]
    assert calibrate(words, one, SPACE) == calibrate(words, other, SPACE)


@given(st.sampled_from([None, CONFIRMED, PARTIAL]), st.booleans())
def test_json_lines_keep_what_is_taught(review: Review | None, newer: bool) -> None:
    """A line of JSON says the mark and, where it matters, which label is newer."""
    labels = (valid("DATE", EARLY), WordLabel("TAX", "PENDING", "m", LATE if newer else EARLY))
    before = receipt(word("a", *labels), word("b"), review=review)
    after = parse_record(to_record(before), "x", ProblemLog())
    assert after is not None
    assert after.taught_labels() == before.taught_labels()
    assert (after.review, after.extra) == (review, {})


@pytest.mark.parametrize(
    "given_review", [True, {"confirmed": "yes", "by": "a", "at": ""}, {"confirmed": True}, [], "x"]
)
def test_a_field_of_others_that_is_called_review_is_carried_along(given_review: Any) -> None:
    """Only the mark as it is written counts as one: a file of an older version keeps its own field."""
    record = to_record(receipt(word("a"))) | {"review": given_review}
    found = parse_record(record, "x", ProblemLog())
    assert found is not None
    assert (found.review, found.extra) == (None, {"review": given_review})
    assert to_record(found) == record
