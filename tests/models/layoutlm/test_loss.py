from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.data.encode import IGNORED, allowed_sets
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.models.layoutlm.loss import MarginalLoss, target_table

SPACE = LabelSpace(("MERCHANT_NAME", "PHONE_NUMBER", "DATE"))
SETS = allowed_sets(SPACE, ["sroie", "", "funsd"])
NUM_TAGS = len(SPACE.tags)
NUM_TARGETS = NUM_TAGS + len(SETS)
SROIE = NUM_TAGS + SETS.index(frozenset({"PHONE_NUMBER"}))


def by_hand(logits: np.ndarray, targets: list[int], smoothing: float = 0.0) -> float:
    """Mean negative log of the summed probability of what each word may bear, in double precision, word by word."""
    losses = []
    for row, target in zip(logits.astype(np.float64), targets, strict=True):
        if target == IGNORED:
            continue
        probability = np.exp(row - row.max())
        probability /= probability.sum()
        if target < NUM_TAGS:
            allowed = {SPACE.tags[target]}
        else:
            names = SETS[target - NUM_TAGS]
            allowed = {"O", *(f"{prefix}-{name}" for prefix in "BI" for name in names)}
        mass = sum(p for p, tag in zip(probability, SPACE.tags, strict=True) if tag in allowed)
        losses.append(-(1 - smoothing) * np.log(mass) - smoothing * np.log(probability).mean())
    return float(np.mean(losses)) if losses else 0.0


def loss_of(logits: torch.Tensor, targets: list[int], smoothing: float = 0.0, count: int | None = None) -> torch.Tensor:
    loss = MarginalLoss(target_table(SPACE, SETS), smoothing)
    return loss({"logits": logits.unsqueeze(0)}, torch.tensor([targets]), count)


def drawn(seed: int, words: int) -> torch.Tensor:
    return 4 * torch.randn(words, NUM_TAGS, generator=torch.Generator().manual_seed(seed))


known = st.lists(st.one_of(st.integers(0, NUM_TAGS - 1), st.just(IGNORED)), min_size=1, max_size=30)
any_target = st.lists(st.one_of(st.integers(0, NUM_TARGETS - 1), st.just(IGNORED)), min_size=1, max_size=30)


@settings(deadline=None)
@given(targets=known.filter(lambda t: any(x != IGNORED for x in t)), seed=st.integers(0, 2**32 - 1))
def test_known_words_bear_cross_entropy(targets: list[int], seed: int) -> None:
    """Where every word's tag is known the loss is torch's cross-entropy, ignored tokens left out."""
    logits = drawn(seed, len(targets))
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(targets), ignore_index=IGNORED)
    torch.testing.assert_close(loss_of(logits, targets), expected)


@settings(deadline=None)
@given(targets=any_target, seed=st.integers(0, 2**32 - 1), smoothing=st.sampled_from([0.0, 0.1, 0.5]))
def test_partly_annotated_words_bear_the_marginal(targets: list[int], seed: int, smoothing: float) -> None:
    """The loss is the brute-force marginal in double precision, with the smoothed share as the formula says."""
    logits = drawn(seed, len(targets))
    assert float(loss_of(logits, targets, smoothing)) == pytest.approx(
        by_hand(logits.numpy(), targets, smoothing), rel=1e-4, abs=1e-6
    )


@settings(deadline=None)
@given(batches=st.lists(any_target, min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_the_mean_is_over_all_words_of_the_accumulated_batches(batches: list[list[int]], seed: int) -> None:
    """The losses of accumulated batches sum to the mean over all of their words, however unequal their sizes."""
    count = sum(target != IGNORED for targets in batches for target in targets)
    logits = [drawn(seed + n, len(targets)) for n, targets in enumerate(batches)]
    parts = [loss_of(rows, targets, count=count) for rows, targets in zip(logits, batches, strict=True)]
    everything = by_hand(torch.cat(logits).numpy(), [target for targets in batches for target in targets])
    assert float(sum(parts)) == pytest.approx(everything, rel=1e-4, abs=1e-6)
    tensor = MarginalLoss(target_table(SPACE, SETS))(
        {"logits": logits[0].unsqueeze(0)}, torch.tensor([batches[0]]), torch.tensor(count)
    )
    torch.testing.assert_close(tensor, parts[0])


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_o_word_of_sroie_is_no_evidence_against_a_phone_number(seed: int) -> None:
    """Descent on an `O` word of SROIE never lowers PHONE_NUMBER, which SROIE does not annotate, but lowers DATE."""
    logits = drawn(seed, 1).requires_grad_()
    loss_of(logits, [SROIE]).backward()
    assert logits.grad is not None
    gradient = dict(zip(SPACE.tags, logits.grad[0].tolist(), strict=True))
    for tag in ("O", "B-PHONE_NUMBER", "I-PHONE_NUMBER"):
        assert gradient[tag] <= 1e-7
    for tag in ("B-DATE", "I-DATE", "B-MERCHANT_NAME"):
        assert gradient[tag] >= -1e-7
    logits.grad = None
    loss_of(logits, [0]).backward()  # the same word of a source that annotates all
    assert float(logits.grad[0, SPACE.tags.index("B-PHONE_NUMBER")]) >= 0


def test_label_smoothing_by_hand() -> None:
    """Smoothing 0.1 over 7 tags: nine tenths of the word's own loss, a tenth of the mean over all tags."""
    logits = torch.tensor([[2.0, 0, 0, 0, 0, 0, 0]])
    total = np.exp(2.0) + 6
    own, others = -np.log(np.exp(2.0) / total), -np.log(1 / total)
    expected = 0.9 * own + 0.1 * (own + 6 * others) / 7
    assert float(loss_of(logits, [0], 0.1)) == pytest.approx(expected, 1e-6)


@pytest.mark.parametrize("count", [None, 0])
def test_no_supervised_word_costs_nothing(count: int | None) -> None:
    """A batch without a supervised word has loss 0 and gradients of 0, not NaN."""
    logits = drawn(0, 3).requires_grad_()
    loss = loss_of(logits, [IGNORED] * 3, 0.1, count)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()
    tensor = MarginalLoss(target_table(SPACE, SETS))(
        {"logits": logits.unsqueeze(0)}, torch.full((1, 3), IGNORED), torch.tensor(0)
    )
    assert float(tensor.detach()) == 0


def test_extreme_logits_stay_finite() -> None:
    """A model that is as sure as half precision can be still gives a finite loss and gradient."""
    logits = torch.tensor([[60000.0, -60000, 0, 0, 0, 0, 0]], dtype=torch.float16).requires_grad_()
    loss = loss_of(logits, [SROIE])
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


def test_the_target_table_says_what_each_target_allows() -> None:
    """One tag for a known word; `O` and both tags of each unannotated label for a set."""
    table = target_table(SPACE, SETS)
    assert torch.equal(table[:NUM_TAGS], torch.eye(NUM_TAGS, dtype=torch.bool))
    allowed = {tag for tag, yes in zip(SPACE.tags, table[SROIE].tolist(), strict=True) if yes}
    assert allowed == {"O", "B-PHONE_NUMBER", "I-PHONE_NUMBER"}
