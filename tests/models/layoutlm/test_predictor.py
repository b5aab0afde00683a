from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.data.decode import choose, receipt_predictions
from receipt_trainer.data.encode import IGNORED, EncodedSplit, allowed_sets, encode
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.prepare import Prepared
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.models.layoutlm.collator import PackingCollator
from receipt_trainer.models.layoutlm.loss import MarginalLoss, target_table
from receipt_trainer.models.layoutlm.model import build, load_tokenizer, resolve
from receipt_trainer.models.layoutlm.predictor import predict

SPACE = LabelSpace(("TIME", "PHONE_NUMBER", "DATE"))  # no names: a word keeps what the model says of it alone
START = resolve("tiny")
TOKENIZER = load_tokenizer(START)
torch.manual_seed(3)
MODEL = build(START, SPACE, TOKENIZER, TrainingConfig()).eval()


def receipt(lines: list[list[str]], label: str | None = None, source: str = "") -> Receipt:
    words = tuple(
        Word(
            text,
            (0.01 * (n % 90), 0.001 * row, 0.01 * (n % 90) + 0.05, 0.001 * row + 0.01),
            row,
            (WordLabel(label),) if label and n == 0 else (),
        )
        for row, line in enumerate(lines)
        for n, text in enumerate(line)
    )
    return Receipt("image", 1, words, source=source)


def encoded(receipts: list[Receipt], **config: Any) -> EncodedSplit:
    return encode(receipts, SPACE, TOKENIZER, DataConfig(**config), allowed_sets(SPACE, {r.source for r in receipts}))


texts = st.text(alphabet="abcxyz0123.,é€", min_size=1, max_size=9)
layouts = st.lists(st.lists(st.lists(texts, min_size=1, max_size=12), min_size=1, max_size=5), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(
    layout=layouts,
    kind=st.sampled_from(["line", "receipt"]),
    max_length=st.sampled_from([16, 20, 64, 512]),
    sliding=st.booleans(),
)
def test_every_word_gets_exactly_one_prediction(
    layout: list[list[list[str]]], kind: Literal["line", "receipt"], max_length: int, sliding: bool
) -> None:
    """In lines and whole receipts, windows or not, each word is owned by one window and has one distribution."""
    config = {"examples": kind, "max_length": max_length, "use_sliding_window": sliding, "window_stride": 8}
    split = encoded([receipt(lines) for lines in layout], **config)
    owned = split.examples.words[split.examples.words >= 0]
    assert sorted(owned.tolist()) == list(range(len(split.words.texts)))
    predictions = predict(MODEL, split, SPACE)
    assert predictions.probabilities.shape == (len(split.words.texts), 1 + len(SPACE.labels))
    assert predictions.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert choose(predictions.probabilities, split.words, SPACE).shape == (len(split.words.texts),)


def test_both_views_of_a_word_are_averaged() -> None:
    """With lines and receipts as examples a word's distribution is the mean of what each view alone gives."""
    receipts = [receipt([["a", "b"], ["c"], ["d", "e", "f"]]), receipt([["g"], ["h", "i"]])]
    line, whole, both = (
        predict(MODEL, encoded(receipts, examples=kind), SPACE).probabilities for kind in ("line", "receipt", "both")
    )
    assert both == pytest.approx((line + whole) / 2, abs=1e-5)


def test_a_long_receipt_is_read_through_windows() -> None:
    """Ten times longer than the model: every word is predicted from the window that owns it, token by token."""
    split = encoded(
        [receipt([[f"w{n}"] * 10 for n in range(60)])], examples="receipt", max_length=128, window_stride=32
    )
    assert len(split.examples) > 10
    assert int(split.examples.lengths.max()) <= 128
    predictions = predict(MODEL, split, SPACE)
    for number in range(len(split.examples)):
        batch = PackingCollator(split.examples)([number])
        batch.pop("labels")
        with torch.inference_mode():
            tags = MODEL(**batch)["logits"][0].softmax(dim=-1).numpy()
        span = slice(int(split.examples.offsets[number]), int(split.examples.offsets[number + 1]))
        for token, word in enumerate(split.examples.words[span].tolist()):
            if word >= 0:
                labels = [tags[token, 0], *(tags[token, 1 + 2 * n] + tags[token, 2 + 2 * n] for n in range(3))]
                assert predictions.probabilities[word] == pytest.approx(labels, abs=1e-5)


def test_the_loss_is_the_mean_over_supervised_words(prepared: Callable[..., Prepared]) -> None:
    """Measured batch by batch, the loss equals that of all words in one go; nothing supervised is NaN."""
    data = prepared(examples="line")
    model = build(START, data.space, TOKENIZER, TrainingConfig()).eval()
    loss = MarginalLoss(target_table(data.space, data.sets), 0.1)
    split = data.validation
    measured = predict(model, split, data.space, loss=loss).loss
    batch = PackingCollator(split.examples)(range(len(split.examples)))
    labels = batch.pop("labels")
    with torch.inference_mode():
        assert measured == pytest.approx(float(loss(model(**batch), labels)), rel=1e-5)
    split.examples.targets.setflags(write=True)
    nothing = EncodedSplit(
        type(split.examples)(
            **{
                name: getattr(split.examples, name)
                for name in ("offsets", "input_ids", "bbox", "words", "num_outside", "num_entity")
            },
            targets=np.full_like(split.examples.targets, IGNORED),
        ),
        split.words,
    )
    assert np.isnan(predict(model, nothing, data.space, loss=loss).loss)


def test_what_a_source_does_not_annotate_counts_as_outside() -> None:
    """SROIE has no phone numbers: scored, one is `O` and its probability too; shown to people, it is a phone number."""
    split = encoded([receipt([["a"]], "DATE", "sroie"), receipt([["b"]], "DATE")])
    probabilities = np.array([[0.3, 0.1, 0.45, 0.15], [0.3, 0.1, 0.45, 0.15]], dtype=np.float32)
    before = probabilities.copy()
    assert choose(probabilities, split.words, SPACE).tolist() == [0, 2]
    assert choose(probabilities, split.words, SPACE, scored=False).tolist() == [2, 2]
    assert (probabilities == before).all()
    moved = np.array([[0.3, 0.0, 0.3, 0.4]] * 2, dtype=np.float32)
    assert choose(moved, split.words, SPACE).tolist() == [0, 3]  # .3 + .3 for O against .4 for DATE


def test_prediction_leaves_trainings_random_state_alone(prepared: Callable[..., Prepared]) -> None:
    """Evaluating draws nothing, and puts the model back into training mode: the next losses do not depend on it."""
    data = prepared(examples="line")
    model = build(START, data.space, TOKENIZER, TrainingConfig(dropout=0.5, attention_dropout=0.5)).train()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    first = predict(model, data.validation, data.space).probabilities
    second = predict(model, data.validation, data.space).probabilities
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert str(before[2]) == str(np.random.get_state())
    assert (first == second).all()
    assert model.training


def test_progress_counts_every_example() -> None:
    """The numbers told to a progress bar add up to the examples."""
    split = encoded([receipt([["abc"] * 9] * 40)], examples="line")
    told: list[int] = []
    predict(MODEL, split, SPACE, on_batch=told.append)
    assert sum(told) == len(split.examples)


def test_verdicts_carry_every_word_with_gold_and_predicted_label() -> None:
    """One record a receipt in order, every word in reading order with its score."""
    split = encoded([receipt([["a", "b"], ["c"]], "DATE"), receipt([["d"]])])
    predictions = predict(MODEL, split, SPACE)
    labels = choose(predictions.probabilities, split.words, SPACE)
    records = list(receipt_predictions(split.words, predictions.probabilities, labels, SPACE))
    assert [[word.text for word in record.words] for record in records] == [["a", "b", "c"], ["d"]]
    assert [word.gold for word in records[0].words] == ["DATE", "O", "DATE"]
    names = ("O", *SPACE.labels)
    shown = [word for record in records for word in record.words]
    assert [word.pred for word in shown] == [names[label] for label in labels]
    for word, row, label in zip(shown, predictions.probabilities, labels, strict=True):
        assert word.score == pytest.approx(float(row[label]), abs=1e-4)
