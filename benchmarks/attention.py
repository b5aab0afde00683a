"""Packed attention on a GPU: buckets of padded examples against PyTorch's variable-length kernel, forward and backward.

    python benchmarks/attention.py --tokens 700 4096 16384 65536

One attention of MiniLM's shape (12 heads of 32) over one packed row in bf16, for examples as long as lines of generated
receipts (about 10 tokens) and as receipts (about 170). `buckets` is what training uses on a GPU; `varlen` is
`torch.nn.attention.varlen`, which takes where examples begin and knows no dropout, so that is off in both. `x 6` is
what a step would save in its six attentions. Medians of 30 after 5 uncounted ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from receipt_trainer.models.layoutlm.packing import attention_plan, packed_attention
from receipt_trainer.training.hardware import without_cudnn_attention

HEADS, SIZE = 12, 32
KINDS = {"line": (10.0, 0.4), "receipt": (170.0, 0.35)}
"""Median length in tokens and spread (of its logarithm) of each kind of example."""


def lengths_of(kind: str, tokens: int, seed: int) -> NDArray[np.int64]:
    """Lengths of examples that together have about `tokens` tokens."""
    median, spread = KINDS[kind]
    drawn = np.random.default_rng(seed).lognormal(np.log(median), spread, size=max(4, int(2 * tokens / median)))
    sizes = np.clip(np.rint(drawn), 3, 512).astype(np.int64)
    count = int(np.searchsorted(np.cumsum(sizes), tokens)) + 1
    return sizes[:count]


def milliseconds(step: Callable[[], Tensor], inputs: list[Tensor]) -> float:
    """Median time of forward and backward."""
    spent = []
    for _ in range(35):
        torch.cuda.synchronize()
        before = time.perf_counter()
        step().square().sum().backward()  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        spent.append(1000 * (time.perf_counter() - before))
        for one in inputs:
            one.grad = None
    return statistics.median(spent[5:])


def main() -> None:
    """Measure what is asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[700, 4096, 16384, 65536])
    options = parser.parse_args()
    from torch.nn.attention.varlen import varlen_attn

    table = Table("examples", "tokens", "buckets ms", "varlen ms", "ratio", "largest difference", "x 6 ms")
    for kind in KINDS:
        for tokens in options.tokens:
            sizes = lengths_of(kind, tokens, seed=0)
            total = int(sizes.sum())
            torch.manual_seed(0)
            rows = [
                torch.randn(1, HEADS, total, SIZE, device="cuda", dtype=torch.bfloat16, requires_grad=True)
                for _ in range(3)
            ]
            plan = {
                name: value.cuda() if isinstance(value, Tensor) else value
                for name, value in attention_plan(sizes, coarse=True).items()
            }
            starts = torch.from_numpy(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)).cuda()
            longest = int(sizes.max())

            def buckets(rows: list[Tensor] = rows, plan: dict[str, object] = plan) -> Tensor:
                return packed_attention(torch.nn.Module(), *rows, None, SIZE**-0.5, packing=plan)[0]

            def varlen(rows: list[Tensor] = rows, starts: Tensor = starts, longest: int = longest) -> Tensor:
                q, k, v = (row.transpose(1, 2).squeeze(0) for row in rows)
                out = varlen_attn(q, k, v, starts, starts, longest, longest)
                assert isinstance(out, Tensor)
                return out.unsqueeze(0)

            with without_cudnn_attention():
                off = float((buckets() - varlen()).abs().max().detach())
                first, second = milliseconds(buckets, rows), milliseconds(varlen, rows)
            table.add_row(
                *(kind, f"{total:,}", f"{first:.2f}", f"{second:.2f}", f"{first / second:.2f}", f"{off:.4f}"),
                f"{6 * (first - second):.1f}",
            )
    Console(width=120).print(torch.cuda.get_device_name(), torch.__version__, table)


if __name__ == "__main__":
    main()
