"""Memory of the loss over a large vocabulary: by chunks, as training does it, and with all logits at once.

    python -m benchmarks.vl_loss
    python -m benchmarks.vl_loss --rows 1 --ways chunks whole

A batch of answers as hidden states and a frozen head of the published width and vocabulary, in float32 with random
values, forward and backward. Peak: the most that tensors made by the loss and its gradient held at once, counted at
every operation of PyTorch, without the hidden states, the head and the gradient that is asked for (all rows of it).
Beside it the growth of the process's largest resident set. With both ways their losses and gradients are compared.
The whole way takes three times the logits: 20 GiB for 8 x 2048.
"""

from __future__ import annotations

import argparse
import resource
import time
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from receipt_trainer.config.paddleocr_vl import LossSection
from receipt_trainer.models.paddleocr_vl.loss import TokenLoss, answer_loss
from tests.live_bytes import LiveBytes

HIDDEN, VOCABULARY = 1024, 103_424
SECTIONS = {
    "cross entropy": LossSection(),
    "focal": LossSection(use_focal=True),
    "smoothing": LossSection(use_label_smoothing=True),
}


class HiddenStates(nn.Module):
    """A model of which only the last layer's output and the head are left.

    Attributes:
        states: (rows, tokens, hidden), with a gradient.
    """

    def __init__(self, rows: int, tokens: int) -> None:
        super().__init__()
        self.states = nn.Parameter(torch.randn(rows, tokens, HIDDEN))
        self.lm_head = nn.Linear(HIDDEN, VOCABULARY, bias=False).requires_grad_(requires_grad=False)

    def forward(self, **_: Any) -> SimpleNamespace:
        """logits: what the head makes of the states."""
        return SimpleNamespace(logits=self.lm_head(self.states))


def whole_loss(model: HiddenStates, labels: Tensor, loss: TokenLoss) -> Tensor:
    """All logits at once."""
    return loss(model().logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def main() -> None:
    """Print a line for each loss and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=2048, help="of a row, all of them supervised but the first")
    parser.add_argument("--losses", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--ways", nargs="+", choices=["chunks", "whole"], default=["chunks"])
    options = parser.parse_args()
    torch.manual_seed(0)
    model = HiddenStates(options.rows, options.tokens)
    labels = torch.randint(VOCABULARY, (options.rows, options.tokens))
    for name in options.losses:
        loss = TokenLoss(SECTIONS[name])
        found: dict[str, tuple[float, Tensor]] = {}
        for way in options.ways:
            model.states.grad = None
            before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            with LiveBytes() as live:
                total = (
                    answer_loss(model, {"labels": labels}, loss).total
                    if way == "chunks"
                    else whole_loss(model, labels, loss)
                )
                total.backward()  # type: ignore[no-untyped-call]
            assert model.states.grad is not None
            found[way] = float(total.detach()), model.states.grad
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
            print(
                f"{name}, {way}: peak {live.peak / 2**30:.2f} GiB, resident set grown by {grown:.2f} GiB, "
                f"{time.process_time() - began:.0f} s of CPU, loss {float(total.detach()):.2f}",
                flush=True,
            )
        if len(found) == 2:
            (ours, ours_grad), (whole, whole_grad) = found.values()
            apart = float((ours_grad - whole_grad).norm() / whole_grad.norm())
            print(f"{name}: losses differ by {abs(ours - whole) / abs(whole):.1e}, gradients by {apart:.1e} of theirs")


if __name__ == "__main__":
    main()
