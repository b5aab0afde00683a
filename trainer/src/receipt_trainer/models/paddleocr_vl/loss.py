"""The loss of supervised tokens, as a sum: the caller, who knows all tokens of a step, divides it once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from receipt_trainer.config.paddleocr_vl import LossSection
from receipt_trainer.models.paddleocr_vl.encode import IGNORED

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


def supervised(model: Any, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Logits and targets of the supervised tokens alone.

    The vocabulary is large: logits are computed only at positions that some example of the batch learns from.

    Args:
        inputs: a batch of `collate` without `ids`.

    Returns:
        (supervised tokens, vocabulary) and (supervised tokens,).
    """
    values = dict(inputs)
    targets: Tensor = values.pop("labels")[:, 1:]
    places = (targets != IGNORED).any(dim=0).nonzero().squeeze(1)
    logits = model(**values, logits_to_keep=places, use_cache=False).logits
    wanted = targets[:, places]
    mask = wanted != IGNORED
    return logits[mask], wanted[mask]
