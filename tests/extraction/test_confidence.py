"""Confidences of fields, and how they are fitted."""

from __future__ import annotations

import numpy as np
import pytest

from receipt_trainer.contract.package import Calibration
from receipt_trainer.data.decode import softmax, temper
from receipt_trainer.data.encode import words_of
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.evaluation.calibration import calibrate, calibration_error
from receipt_trainer.extraction.confidence import field_confidence

SPACE = LabelSpace(("DATE", "TIME"))


def test_a_field_is_as_sure_as_its_words_and_their_reading() -> None:
    """Without calibration the product of the words', and of the reading confidences that there are."""
    assert field_confidence([0.9, 0.8], [None, None], Calibration()) == pytest.approx(0.72)
    assert field_confidence([0.9, 0.8], [0.5, 0.9], Calibration()) == pytest.approx(0.72 * 0.45)
    assert 0 <= field_confidence([0.0], [None], Calibration()) < field_confidence([1.0], [None], Calibration()) <= 1


def test_a_temperature_keeps_the_likeliest_label() -> None:
    """Whatever the temperature, the order of the labels stays and rows sum to 1; 1 changes nothing."""
    found = softmax(np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32) * 3)
    for temperature in (0.25, 0.7, 3.0):
        tempered = temper(found, temperature)
        assert (tempered.argsort(axis=1) == found.argsort(axis=1)).all()
        assert tempered.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert temper(found, 1.0) is found


def test_an_overconfident_model_is_cooled() -> None:
    """Labels drawn from softmax(logits), said three times as sure: the temperature found is near 3, the error small."""
    draw = np.random.default_rng(2)
    logits = draw.normal(size=(60 * 20, 3)).astype(np.float32)
    true = softmax(logits)
    gold = [int(draw.choice(3, p=row / row.sum())) for row in true.astype(np.float64)]
    names = ("O", *SPACE.labels)
    words = [
        Word(f"w{n}", (0, 0, 1, 1), n, (WordLabel(names[label]),) if label else ()) for n, label in enumerate(gold)
    ]
    receipts = [Receipt(f"i{n}", 1, tuple(words[20 * n : 20 * n + 20])) for n in range(60)]
    found = calibrate(words_of(receipts, SPACE), softmax(3 * logits), SPACE)
    assert found.calibrated
    assert found.temperature == pytest.approx(3, rel=0.15)
    assert found.word_error is not None
    assert found.word_error < 0.06


def test_the_error_is_the_gap_between_said_and_right() -> None:
    """Sure and wrong is 1, sure and right 0, .75 said of what is right in half .25."""
    assert calibration_error([(1.0, False)] * 4) == 1
    assert calibration_error([(1.0, True)] * 4) == 0
    assert calibration_error([(0.75, True), (0.75, False)]) == 0.25


def test_a_field_over_two_lines_is_one() -> None:
    """Fitted on the fields that an answer has: a name whose second line is right in half of the receipts is at .5."""
    space = LabelSpace(("MERCHANT_NAME",))
    label = (WordLabel("MERCHANT_NAME"),)
    receipts = [
        Receipt(f"i{n}", 1, (Word("Big", (0, 0, 1, 0.4), 0, label), Word("Shop", (0, 0.5, 1, 1), 1, label * (n % 2))))
        for n in range(120)
    ]
    said = np.array([[0.05, 0.95]] * 240, dtype=np.float32)
    found = calibrate(words_of(receipts, space), said, space)
    word = float(temper(said[:1], found.temperature)[0, 1])
    assert field_confidence([word, word], [None, None], found) == pytest.approx(0.5, abs=0.05)
    assert found.field_error is not None
    assert found.field_error < 0.1
