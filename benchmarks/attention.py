"""One training step of packed batches: which attention, how much of the card it uses, whether launches bound it.

    python -m benchmarks.attention --json attention.json
    python -m benchmarks.attention --device cpu --shapes small --tokens 256 --json attention.json

Models of MiniLM's and LayoutLM-base's shape with random weights, examples as long as lines of generated receipts (about
10 tokens) and as receipts (about 170). A step is forward, backward, clipping and AdamW over one batch that stays, in
bf16 on a GPU, without attention's dropout, which varlen does not know:
  buckets   one packed row, attention over coarse buckets, as training does it on a GPU
  varlen    one packed row, `torch.nn.attention.varlen`, which takes where examples begin
  padded    transformers' own: sdpa over examples of similar length padded to their longest; the mean of five such
            batches, from the short to the long ones
Tokens are real ones. `share` is what a step's arithmetic on real tokens, 6 operations a weight and token and attention
within examples, makes of the rate that a product of two 8192 x 8192 matrices in bf16 reaches in the same run. `graph`
is the same step replayed as a CUDA graph: where it is much shorter, the step waits for launches. `compiled` is the step
under torch.compile, measured last and for one size, as it compiles for long. What --seconds leave no time for is
without figures.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import AttentionInterface, LayoutLMConfig, LayoutLMForTokenClassification

from benchmarks.throughput import SHAPES, pad
from receipt_trainer.data.encode import Examples
from receipt_trainer.models.layoutlm.collator import PackingCollator
from receipt_trainer.models.layoutlm.packing import PACKED, use_packing
from receipt_trainer.training.hardware import without_cudnn_attention

KINDS = {"line": (10.0, 0.4), "receipt": (170.0, 0.35)}
"""Median length in tokens and spread (of its logarithm) of each kind of example."""
NUM_TAGS = 9
PADDED_BATCHES = 5
ENOUGH_S = {"cuda": 0.5, "cpu": 0.05}
"""Of timed steps; at least 3 are timed, at most 50."""


@dataclass
class Row:
    """One way at one size. Milliseconds are of a step; None: not measured."""

    shape: str
    kind: str
    tokens: int
    way: str
    ms: float | None = None
    tokens_a_second: float | None = None
    share: float | None = None
    peak_gib: float | None = None
    graph_ms: float | None = None
    compiled_ms: float | None = None
    error: str | None = None


def lengths_of(kind: str, tokens: int, seed: int) -> NDArray[np.int64]:
    """Lengths of examples that together have about `tokens` tokens."""
    median, spread = KINDS[kind]
    drawn = np.random.default_rng(seed).lognormal(np.log(median), spread, size=max(4, int(2 * tokens / median)))
    sizes = np.clip(np.rint(drawn), 3, 512).astype(np.int64)
    count = int(np.searchsorted(np.cumsum(sizes), tokens)) + 1
    return sizes[:count]


def examples_of(sizes: NDArray[np.int64], vocabulary: int) -> Examples:
    """Random examples of these lengths, each token with a target."""
    draw, total = np.random.default_rng(0), int(sizes.sum())
    corners = np.sort(draw.integers(0, 1001, (total, 2, 2)), axis=1).reshape(total, 4)
    ones = np.ones(len(sizes), dtype=np.int32)
    return Examples(
        offsets=np.cumsum([0, *sizes], dtype=np.int64),
        input_ids=draw.integers(5, vocabulary, total).astype(np.int32),
        bbox=corners.astype(np.int32),
        targets=draw.integers(0, NUM_TAGS, total).astype(np.int32),
        words=np.arange(total, dtype=np.int32),
        num_outside=ones,
        num_entity=ones,
    )


def varlen_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: dict[str, Any],
    **_: Any,
) -> tuple[Tensor, None]:
    """As `packed_attention`."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (part.transpose(1, 2).squeeze(0) for part in (query, key, value))
    starts, longest = packing["starts"], packing["longest"]
    out = varlen_attn(q, k, v, starts, starts, longest, longest)
    assert isinstance(out, Tensor)
    return out.unsqueeze(0), None


AttentionInterface.register("varlen", varlen_attention)


def to(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {key: to(item, device) for key, item in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


class Steps:
    """A model, its optimizer, and steps of it.

    Attributes:
        weights_a_token: that a token is multiplied by.
    """

    def __init__(self, shape: str, device: torch.device) -> None:
        config = LayoutLMConfig(**SHAPES[shape], num_labels=NUM_TAGS, attention_probs_dropout_prob=0.0)
        torch.manual_seed(0)
        self.config, self.device, self.cuda = config, device, device.type == "cuda"
        self.model = LayoutLMForTokenClassification(config).to(device).train()
        use_packing(self.model)
        self.model.layoutlm.pooler.requires_grad_(False)
        self.trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-5, fused=True, capturable=self.cuda)
        self.weights_a_token = sum(weight.numel() for weight in self.model.layoutlm.encoder.parameters())

    def batches(self, kind: str, tokens: int, way: str) -> list[tuple[dict[str, Any], NDArray[np.int64]]]:
        """Batches of a way and the lengths of the examples in each."""
        if way != "padded":
            sizes = lengths_of(kind, tokens, seed=0)
            batch = PackingCollator(examples_of(sizes, self.config.vocab_size), coarse=self.cuda)(range(len(sizes)))
            starts = torch.from_numpy(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
            batch["packing"] |= {"starts": starts, "longest": int(sizes.max())}
            return [(to(batch, self.device), sizes)]
        pool = np.sort(lengths_of(kind, PADDED_BATCHES * tokens, seed=0))
        found = []
        for sizes in np.array_split(pool, PADDED_BATCHES):
            examples, ends = examples_of(sizes, self.config.vocab_size), np.cumsum(sizes)
            rows = [
                {
                    "input_ids": examples.input_ids[end - size : end],
                    "bbox": examples.bbox[end - size : end],
                    "labels": examples.targets[end - size : end],
                }
                for size, end in zip(sizes, ends, strict=True)
            ]
            found.append((to(pad(rows, None), self.device), sizes))
        return found

    def step(self, batch: dict[str, Any], model: Any = None) -> None:
        """One step; under a CUDA graph the same."""
        self.optimizer.zero_grad(set_to_none=True)
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda):
            logits = (model or self.model)(**inputs)["logits"]
        loss = nn.functional.cross_entropy(logits.float().flatten(0, 1), batch["labels"].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()

    def operations(self, sizes: NDArray[np.int64]) -> float:
        """Of a step over the real tokens of examples of these lengths: backward costs twice what forward does."""
        attention = 4 * self.config.hidden_size * self.config.num_hidden_layers * float((sizes**2).sum())
        return 3 * (2 * self.weights_a_token * float(sizes.sum()) + attention)

    def graph(self, batch: dict[str, Any]) -> Callable[[], None]:
        """The step as a CUDA graph."""
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.step(batch)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step(batch)
        return graph.replay


def seconds_of(step: Callable[[], object], cuda: bool) -> float:
    """Mean time of a call, after three that are not counted; CPU time on a CPU."""
    clock = time.perf_counter if cuda else time.process_time

    def run(times: int) -> float:
        before = clock()
        for _ in range(times):
            step()
        if cuda:
            torch.cuda.synchronize()
        return (clock() - before) / times

    run(3)
    return run(min(50, max(3, int(ENOUGH_S["cuda" if cuda else "cpu"] / max(run(1), 1e-6)))))


def product_rate(device: torch.device) -> float:
    """Operations a second of one large product in bf16; on a CPU of a small one in fp32."""
    side, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (256, torch.float32)
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return float(2 * side**3 / seconds_of(lambda: one @ other, device.type == "cuda"))


def measure(steps: Steps, row: Row, rate: float, *, compiles: bool = False) -> None:
    """Fill a row; an error of the card or of a kernel is its result."""
    steps.model.set_attn_implementation({"buckets": PACKED, "padded": "sdpa"}.get(row.way, row.way))
    if steps.cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        batches = steps.batches(row.kind, row.tokens, row.way)
        if compiles:
            model = torch.compile(steps.model)
            row.compiled_ms = 1000 * seconds_of(lambda: steps.step(batches[0][0], model), steps.cuda)
            return
        spent = sum(seconds_of(lambda batch=batch: steps.step(batch), steps.cuda) for batch, _ in batches)  # type: ignore[misc]
        row.ms = 1000 * spent / len(batches)
        row.tokens_a_second = sum(int(sizes.sum()) for _, sizes in batches) / spent
        row.share = sum(steps.operations(sizes) for _, sizes in batches) / spent / rate
        if steps.cuda:
            row.peak_gib = torch.cuda.max_memory_allocated() / 2**30
            if row.way != "padded":
                row.graph_ms = 1000 * seconds_of(steps.graph(batches[0][0]), cuda=True)
    except (RuntimeError, NotImplementedError, ImportError) as error:  # out of memory is a RuntimeError
        row.error = " ".join(str(error).split())[:300]
    finally:
        steps.optimizer.zero_grad(set_to_none=True)


def rows_of(options: argparse.Namespace, device: torch.device, rate: float) -> Iterator[Row]:
    """All that is asked for, one by one: sizes in turn, ways side by side, compilation last."""
    ways = ("buckets", "varlen", "padded") if device.type == "cuda" else ("buckets", "padded")
    for shape in options.shapes:
        steps = Steps(shape, device)
        for tokens in options.tokens:
            for kind in KINDS:
                for way in ways:
                    row = Row(shape, kind, tokens, way)
                    if time.monotonic() < options.until:
                        measure(steps, row, rate)
                    yield row
    for shape in options.shapes if device.type == "cuda" else ():
        row = Row(shape, "receipt", min(options.tokens, key=lambda tokens: abs(tokens - 4096)), "buckets")
        if time.monotonic() < options.until:
            measure(Steps(shape, device), row, rate, compiles=True)
        yield row


def table_of(rows: list[Row]) -> Table:
    """All rows, one a line."""
    table = Table("shape", "examples", "tokens", "way", "ms", "tokens/s", "share", "graph ms", "compiled ms", "GiB", "")
    for row in rows:
        numbers = (row.ms, row.tokens_a_second, row.share, row.graph_ms, row.compiled_ms, row.peak_gib)
        forms = (",.2f", ",.0f", ".1%", ",.2f", ",.2f", ",.2f")
        told = ("-" if number is None else format(number, form) for number, form in zip(numbers, forms, strict=True))
        table.add_row(row.shape, row.kind, f"{row.tokens:,}", row.way, *told, (row.error or "")[:40])
    return table


def main() -> None:
    """Measure what is asked for, print a table and keep all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shapes", choices=list(SHAPES), nargs="+", default=["minilm", "base"])
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 4096, 16384, 65536])
    parser.add_argument("--seconds", type=float, default=600, help="no measurement begins later")
    parser.add_argument("--json", type=Path, help="file for all rows")
    options = parser.parse_args()
    options.until = time.monotonic() + options.seconds
    device = torch.device(options.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    rate, rows = product_rate(device), []
    with without_cudnn_attention():
        for row in rows_of(options, device, rate):
            rows.append(row)
            if options.json:
                left_out = [asdict(one) for one in rows if not (one.ms or one.compiled_ms or one.error)]
                done = [{k: v for k, v in asdict(one).items() if v is not None} for one in rows]
                content = {"device": name, "torch": torch.__version__, "product_tflops": rate / 1e12, "rows": done}
                options.json.write_text(json.dumps(content | {"num_left_out": len(left_out)}, indent=1) + "\n")
    console = Console(width=130)
    console.print(f"{name}, PyTorch {torch.__version__}, product {rate / 1e12:.1f} TFLOP/s", table_of(rows))


if __name__ == "__main__":
    main()
