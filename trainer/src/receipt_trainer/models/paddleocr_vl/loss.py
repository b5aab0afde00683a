"""The loss of supervised tokens, as a sum: the caller, who knows all tokens of a step, divides it once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from receipt_trainer.config.paddleocr_vl import LossSection
from receipt_trainer.models.paddleocr_vl.encode import IGNORED

CHUNK: Final = 512
"""Tokens whose logits are in memory at once: 0.2 GiB in float32 of the published vocabulary of 103,424."""
_FLOOR: Final = 1e-12
"""Of 1 - p in the focal loss: below gamma 1 its gradient has a pole at 0."""


class TokenLoss:
    """Cross entropy, focal loss or label smoothing in nats, summed over tokens."""

    def __init__(self, section: LossSection | None = None) -> None:
        """Without a section: cross entropy."""
        self._section = section or LossSection()

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The sum over all tokens.

        Args:
            logits: (tokens, vocabulary), of any float type; computed in float32.
            targets: (tokens,).
        """
        section, logits = self._section, logits.float()
        if section.use_label_smoothing:
            return functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=section.label_smoothing)
        if not section.use_focal:
            return functional.cross_entropy(logits, targets, reduction="sum")
        losses = functional.cross_entropy(logits, targets, reduction="none")
        unsure = -torch.expm1(-losses)  # 1 - p, exact where p is close to 1
        weights = section.focal_alpha * unsure.clamp_min(_FLOOR) ** section.focal_gamma
        return (weights * losses).sum()


@dataclass(frozen=True, slots=True)
class AnswerLoss:
    """Of the supervised tokens of a batch.

    Attributes:
        total: sum of their losses, in nats; it has a gradient where gradients are computed.
        count: how many they are.
        right: to how many the model gives the highest logit, where no gradient is computed; else 0.
    """

    total: Tensor
    count: int
    right: int


def answer_loss(model: Any, inputs: Mapping[str, Any], loss: TokenLoss) -> AnswerLoss:
    """The loss of a batch's supervised tokens, by chunks of `CHUNK` tokens.

    The vocabulary is large: logits of all tokens of a batch, with their softmax and its gradient, would take several
    times the memory of the weights. Those of a chunk are computed anew in the backward pass.

    Args:
        model: as it is trained, also wrapped by peft or for several processes.
        inputs: a batch of `collate` without `ids`.
    """
    values = dict(inputs)
    targets: Tensor = values.pop("labels")[:, 1:]
    mask = targets != IGNORED
    with _without_head(model) as head:
        # The outermost forward, so that gradients of several processes meet.
        hidden = model(**values, use_cache=False).logits[:, :-1][mask]
    wanted = targets[mask]

    chunks = list(zip(torch.split(hidden, CHUNK), torch.split(wanted, CHUNK), strict=True))
    if hidden.requires_grad:

        def of_chunk(part: Tensor, true: Tensor) -> Tensor:
            return loss(head(part), true)

        keep = of_chunk if len(chunks) == 1 else partial(checkpoint, of_chunk, use_reentrant=False)
        return AnswerLoss(torch.stack([keep(*chunk) for chunk in chunks]).sum(), len(wanted), 0)
    total, right = hidden.new_zeros((), dtype=torch.float32), 0
    for part, true in chunks:
        logits = head(part)
        total += loss(logits, true)
        right += int((logits.argmax(dim=-1) == true).sum())
    return AnswerLoss(total, len(wanted), right)


@contextlib.contextmanager
def _without_head(model: Any) -> Iterator[nn.Module]:
    """Let the model end before its head, which is returned: its "logits" are hidden states then."""
    inner = unwrapped(model)
    head = inner.lm_head
    inner.lm_head = nn.Identity()
    try:
        yield head
    finally:
        inner.lm_head = head


def unwrapped(model: Any) -> Any:
    """The model that transformers knows, within what peft and several processes put around it."""
    inner = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner
