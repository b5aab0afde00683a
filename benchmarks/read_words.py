"""Words read by a model package: time of the processor, memory, start, and whether the labels are those of `predict`.

    python -m benchmarks.read_words RUN RECEIPTS [--reads 5000]

RUN is the folder of a run with its package, RECEIPTS a JSON lines file. Each precision is measured in a process of its
own, with one thread; times are of the processor, so that other load on the machine counts little.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_BEGUN = time.process_time(), time.monotonic()


def main() -> None:
    """Measure both precisions and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("receipts")
    parser.add_argument("--reads", type=int, default=5000, help="reads over which memory may grow")
    parser.add_argument("--child", choices=["fp32", "int8"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(measure(asked.run, asked.receipts, asked.child, asked.reads)))
        return
    wanted = labels_of_predict(asked.run, asked.receipts)
    print(
        "| precision | CPU ms p50 / p99 / mean | encode / arrays / session / decode ms | receipts a CPU second |",
        end="",
    )
    print(" start to first answer: CPU s (wall) | peak RSS MB | growth MB: most resident, heap in use", end="")
    print(" | labels of predict |\n|" + "---|" * 8)
    for precision in ("int8", "fp32"):
        argv = [str(asked.run), asked.receipts, "--reads", str(asked.reads), "--child", precision]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.read_words", *argv], capture_output=True, text=True, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        pairs = [pair for row in zip(found["labels"], wanted, strict=True) for pair in zip(*row, strict=True)]
        same = sum(one == other for one, other in pairs) / len(pairs)
        p50, p99, mean = found["ms"]
        parts = " / ".join(f"{part:.1f}" for part in found["parts"])
        print(
            f"| {precision} | {p50:.0f} / {p99:.0f} / {mean:.0f} | {parts} | {1000 / mean:.1f} "
            f"| {found['start_cpu']:.2f} ({found['start']:.2f}) | {found['peak']:.0f} "
            f"| {found['growth']:.1f}, {found['used']:.1f} | {same:.2%} |",
            flush=True,
        )


def labels_of_predict(run: Path, receipts: str) -> list[list[int]]:
    """What `layoutlm-cli predict` chooses, in torch."""
    from receipt_trainer.cli.trained import open_reader
    from receipt_trainer.data.decode import choose

    reader = open_reader(str(run), "cpu", "fp32")
    chosen = []
    for receipt in load(receipts):
        split, found = reader.read([receipt])
        chosen.append(choose(found.probabilities, split.words, reader.space, scored=False).tolist())
    return chosen


def load(receipts: str) -> list[Any]:
    """The receipts in the file."""
    from receipt_trainer.data.problems import ProblemLog
    from receipt_trainer.data.sources.jsonl import read_jsonl

    return list(read_jsonl(Path(receipts), ProblemLog()))


def measure(run: Path, receipts: str, precision: Any, reads: int) -> dict[str, Any]:
    """All figures of one precision."""
    from receipt_trainer.inference.reader import PackageReader

    imported = time.process_time(), time.monotonic()
    every = load(receipts)  # not the reader's time
    loaded = time.process_time(), time.monotonic()
    reader = PackageReader.open(run, precision)
    reader.read(every[:1])
    start_cpu, start = (
        (after - middle) + (before - begun)
        for after, middle, before, begun in zip(
            (time.process_time(), time.monotonic()), loaded, imported, _BEGUN, strict=True
        )
    )
    labels = [read.labels.tolist() for read in reader.read(every)]
    best = [float("inf")] * len(every)
    for _ in range(3):
        for number, receipt in enumerate(every):
            before = time.process_time()
            reader.read([receipt])
            best[number] = min(best[number], 1000 * (time.process_time() - before))
    peak = peak_mib()
    resident, used = [], [heap_mib()]
    for number in range(reads):
        reader.read([every[number % len(every)]])
        resident.append(resident_mib())
    used.append(heap_mib())
    tenth = max(len(every), reads // 10)
    ordered = sorted(best)
    return {
        "ms": [ordered[len(ordered) // 2], ordered[int(0.99 * (len(ordered) - 1) + 0.5)], sum(best) / len(best)],
        "parts": parts_ms(reader, every),
        "start_cpu": start_cpu,
        "start": start,
        "peak": peak,
        "growth": max(resident[-tenth:]) - max(resident[:tenth]),
        "used": used[1] - used[0],
        "labels": labels,
    }


def parts_ms(reader: Any, receipts: Sequence[Any]) -> list[float]:
    """Mean milliseconds of encoding, the model's arrays, its run, and what words are by all of it."""
    import numpy as np

    from receipt_trainer.data.decode import WordMeans, softmax, temper, whole_lines
    from receipt_trainer.inference.reader import parts
    from receipt_trainer.inference.rectangles import feed

    spent = [0.0] * 4
    for receipt in receipts:
        clock = [time.process_time()]
        examples = reader.encode(receipt)
        clock.append(time.process_time())
        means = WordMeans(len(receipt.words), len(reader.space.labels))
        for numbers in parts(examples):
            clock[-1] = time.process_time()
            feed(examples, numbers)
            clock.append(time.process_time())
            logits = reader.logits(examples, numbers)
            clock.append(time.process_time())
            means.add(softmax(logits), examples.words_in(numbers))
        lines = np.array([word.line for word in receipt.words])
        temper(whole_lines(means.mean(), lines, [0, len(lines)], reader.space), 1.1)
        clock.append(time.process_time())
        spent = [total + clock[n + 1] - clock[n] for n, total in enumerate(spent)]
    encode, arrays, session, decode = (1000 * each / len(receipts) for each in spent)
    return [encode, arrays, session - arrays, decode]  # the run makes its arrays itself


def peak_mib() -> float:
    """The most memory that this process has had in RAM; getrusage would give the parent's, if that was more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def resident_mib() -> float:
    """Memory of this process that is in RAM.

    Between two reads it goes up and down by 25 MB, with what malloc has free and keeps: one moment is not compared with
    another, but the most of the first tenth of the reads with the most of the last.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class _HeapState(ctypes.Structure):
    """What glibc's mallinfo2 returns: ten sizes, of which two are looked at."""

    _fields_ = (
        ("others", ctypes.c_size_t * 4),
        ("hblkhd", ctypes.c_size_t),
        ("free", ctypes.c_size_t * 2),
        ("uordblks", ctypes.c_size_t),
        ("rest", ctypes.c_size_t * 2),
    )


def heap_mib() -> float:
    """Memory that is allocated and not freed, which a leak makes grow; glibc's main arena and its mapped blocks."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _HeapState
    state = mallinfo()
    return float(state.uordblks + state.hblkhd) / 2**20


if __name__ == "__main__":
    main()
