"""The loss of words whose label is known, and of words of which only is known what they are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from receipt_trainer.data.encode import IGNORED
from receipt_trainer.data.labels import LabelSpace


def target_table(space: LabelSpace, sets: Sequence[frozenset[str]]) -> Tensor:
    """(tags + sets, tags) booleans: which tags each target allows.

    The first rows are the identity; row `tags + k` allows `O` and both tags of every label of set k.
    """
    rows = [[tag == other for other in space.tags] for tag in space.tags]
    rows += [[tag == "O" or tag[2:] in names for tag in space.tags] for names in sets]
    return torch.tensor(rows, dtype=torch.bool)


class MarginalLoss:
    """Negative log of the summed probability of all tags that a word may bear.

    With one tag this is cross-entropy. With several it is the marginal likelihood of a partially annotated word
    (Tsuboi et al. 2008, Training Conditional Random Fields Using Incomplete Annotations), without the chain.
    """

    def __init__(self, table: Tensor, label_smoothing: float = 0.0) -> None:
        self._blocked = torch.zeros(table.shape).masked_fill(~table, float("-inf"))
        self._smoothing = label_smoothing

    def __call__(self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Mean over supervised words; `num_items_in_batch` is their number over all accumulated batches.

        Args:
            outputs: has `logits` (rows, tokens, tags).
            labels: (rows, tokens) rows of the target table, IGNORED where nothing is supervised.
        """
        supervised = labels != IGNORED
        logits = outputs["logits"][supervised].float()
        log_probs = logits.log_softmax(dim=-1)
        blocked = self._blocked.to(logits.device)[labels[supervised]]
        losses = -torch.logsumexp(log_probs + blocked, dim=-1)
        if self._smoothing:
            losses = (1 - self._smoothing) * losses - self._smoothing * log_probs.mean(dim=-1)
        count = losses.numel() if num_items_in_batch is None else num_items_in_batch
        return losses.sum() / max(count, 1) if isinstance(count, int) else losses.sum() / count.clamp(min=1)
