from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from receipt_trainer.config.paddleocr_vl import LossSection
from receipt_trainer.data.document_set import read_examples
from receipt_trainer.models.paddleocr_vl import loss as loss_module
from receipt_trainer.models.paddleocr_vl.encode import collate, encode
from receipt_trainer.models.paddleocr_vl.loss import TokenLoss, answer_loss
from receipt_trainer.models.paddleocr_vl.model import Loaded, load
from tests.live_bytes import LiveBytes

FOCAL = LossSection(use_focal=True, focal_alpha=0.25, focal_gamma=2)
SMOOTH = LossSection(use_label_smoothing=True, label_smoothing=0.2)
SECTIONS = {"cross entropy": LossSection(), "focal": FOCAL, "smoothing": SMOOTH}


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> Loaded:
    return load(tiny_model, device="cpu")


@pytest.fixture(scope="module")
def batch(loaded: Loaded, receipts: Path) -> dict[str, Any]:
    """Five examples of different lengths, without their ids."""
    rows = [encode(loaded.processor, example) for example in read_examples(receipts / "train.jsonl")[:5]]
    made = collate([row for row in rows if row is not None], loaded.processor.tokenizer.pad_token_id)
    return {name: value for name, value in made.items() if name != "ids"}


def test_the_losses_by_hand() -> None:
    """Two tokens of a vocabulary of three, with probabilities 1/2, 1/4, 1/4 and 1/10, 1/10, 8/10."""
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).log()
    targets = torch.tensor([1, 2])
    plain = -math.log(0.25) - math.log(0.8)
    assert float(TokenLoss()(logits, targets)) == pytest.approx(plain)
    focal = 0.25 * (0.75**2 * -math.log(0.25) + 0.2**2 * -math.log(0.8))
    assert float(TokenLoss(FOCAL)(logits, targets)) == pytest.approx(focal)
    even = -(math.log(0.5) + 2 * math.log(0.25)) / 3 - (2 * math.log(0.1) + math.log(0.8)) / 3
    assert float(TokenLoss(SMOOTH)(logits, targets)) == pytest.approx(0.8 * plain + 0.2 * even)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_at_its_ends(gamma: float) -> None:
    """Gamma 0 is cross entropy; a token that is surely known has no loss and a finite gradient."""
    section = LossSection(use_focal=True, focal_alpha=1, focal_gamma=gamma)
    logits = torch.tensor([[100.0, 0.0], [0.0, 100.0], [0.3, 0.1]], requires_grad=True)
    loss = TokenLoss(section)(logits, torch.tensor([0, 0, 0]))
    loss.backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
    plain = TokenLoss()(logits.detach(), torch.tensor([0, 0, 0]))
    assert (float(loss.detach()) == pytest.approx(float(plain))) is (gamma == 0)


def test_half_precision_is_summed_in_float32() -> None:
    """Many small losses in bfloat16 would add up to something else."""
    logits = torch.zeros(4096, 8, dtype=torch.bfloat16)
    assert float(TokenLoss()(logits, torch.zeros(4096, dtype=torch.long))) == pytest.approx(
        4096 * math.log(8), rel=1e-6
    )


def test_it_is_the_models_own_loss(loaded: Loaded, batch: dict[str, Any]) -> None:
    """Cross entropy over the supervised tokens is what the model computes from the labels itself."""
    found = answer_loss(loaded.model, batch, TokenLoss())
    assert found.count == int((batch["labels"] != -100).sum())
    own = loaded.model(**batch).loss
    assert float(found.total.detach()) == pytest.approx(float(own.detach()) * found.count, rel=1e-5)


@pytest.mark.parametrize("kind", SECTIONS)
def test_chunks_change_nothing(
    loaded: Loaded, batch: dict[str, Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss, gradients and tokens right are those of all logits at once; never more than a chunk's are computed."""
    loss, count = TokenLoss(SECTIONS[kind]), int((batch["labels"] != -100).sum())
    whole = gradient(loaded, [batch], loss, count)
    sizes: list[int] = []
    hook = loaded.model.lm_head.register_forward_hook(lambda module, given, logits: sizes.append(len(logits)))
    monkeypatch.setattr(loss_module, "CHUNK", 16)
    chunked = gradient(loaded, [batch], loss, count)
    with torch.no_grad():
        found = answer_loss(loaded.model, batch, loss)
    hook.remove()
    assert max(sizes) == 16
    assert torch.allclose(whole, chunked, rtol=1e-5, atol=1e-7)
    with torch.no_grad():
        logits = loaded.model(**batch).logits[:, :-1]
    targets = batch["labels"][:, 1:]
    learned = targets != -100
    assert found.right == int((logits.argmax(dim=-1) == targets)[learned].sum())
    assert float(found.total) == pytest.approx(float(loss(logits[learned], targets[learned])), rel=1e-5)


@pytest.mark.parametrize("kind", SECTIONS)
def test_the_logits_of_all_tokens_are_never_there_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward hold those of a chunk or two with what the loss makes of them, however many tokens there
    are; without chunks it is three times all of them. Loss and gradient are the same."""
    hidden, vocabulary, tokens = 8, 4096, 512
    torch.manual_seed(0)
    states = torch.randn(2, tokens // 2 + 1, hidden, requires_grad=True)
    head = torch.nn.Linear(hidden, vocabulary, bias=False).requires_grad_(requires_grad=False)
    labels = torch.randint(vocabulary, states.shape[:2])
    found, logits_of_one = {}, 4 * vocabulary
    for chunk in (tokens, 64, 32):
        monkeypatch.setattr(loss_module, "CHUNK", chunk)
        states.grad = None
        with LiveBytes() as live:
            total = answer_loss(Headed(states, head), {"labels": labels}, TokenLoss(SECTIONS[kind])).total
            total.backward()
        assert states.grad is not None
        found[chunk] = float(total.detach()), states.grad, live.peak / logits_of_one
    whole, (_, _, peak), (_, _, smaller) = found.values()
    assert whole[2] > 2 * tokens
    assert (peak < 5 * 64, smaller < 5 * 32) == (True, True)
    for value, grad, _ in found.values():
        assert value == pytest.approx(whole[0], rel=1e-6)
        assert torch.allclose(grad, whole[1], rtol=1e-5, atol=1e-7)


class Headed(torch.nn.Module):
    """A model of which only its last hidden states and its head are left."""

    def __init__(self, states: torch.Tensor, head: torch.nn.Linear) -> None:
        super().__init__()
        self.states, self.lm_head = states, head

    def forward(self, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=self.lm_head(self.states))


def gradient(loaded: Loaded, parts: list[dict[str, Any]], loss: TokenLoss, count: int) -> torch.Tensor:
    loaded.model.zero_grad()
    for part in parts:
        (answer_loss(loaded.model, part, loss).total / count).backward()
    weights = [weight.grad.flatten() for weight in loaded.model.parameters() if weight.grad is not None]
    return torch.cat(weights)


def pieces(batch: dict[str, Any], sizes: list[int]) -> list[dict[str, Any]]:
    """The batch in parts of so many examples."""
    patches = batch["image_grid_thw"].prod(dim=1).tolist()
    parts, first = [], 0
    for size in sizes:
        rows, before = slice(first, first + size), sum(patches[:first])
        part = {name: value[rows] for name, value in batch.items() if name != "pixel_values"}
        part["pixel_values"] = batch["pixel_values"][before : before + sum(patches[rows])]
        parts.append(part)
        first += size
    return parts


@pytest.mark.parametrize("kind", SECTIONS)
def test_accumulated_gradients_are_those_of_one_batch(loaded: Loaded, batch: dict[str, Any], kind: str) -> None:
    """The mean is over all supervised tokens of all parts, not a mean of the parts' means."""
    loss, count = TokenLoss(SECTIONS[kind]), int((batch["labels"] != -100).sum())
    whole = gradient(loaded, [batch], loss, count)
    parts = gradient(loaded, pieces(batch, [1, 3, 1]), loss, count)
    assert torch.allclose(whole, parts, rtol=1e-4, atol=1e-7)
    assert float(whole.norm()) > 1e-3
