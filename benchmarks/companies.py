"""Receipts cut by company, so that what is scored is of merchants that training never saw; used by scores.py.

The receipts of all given files are put together. Folds have no company in common. A fold is scored by a model of the
others; of their receipts some whole companies choose the epoch, and, with `known`, some receipts of companies that are
learned, too, are scored apart. All follows from hashes of companies and receipts: each variant has the same receipts.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.gold_labels import same_digits
from benchmarks.read_fields import is_right
from receipt_trainer.contract.names import ENV_ARTIFACTS_BUCKET, ENV_JOBS_TABLE, ENV_O_ENTITY_RATIO, RUN_FILE
from receipt_trainer.contract.predictions import ReceiptPrediction, read_predictions
from receipt_trainer.contract.run_record import load_record
from receipt_trainer.evaluation.bootstrap import paired_interval
from receipt_trainer.evaluation.ratio import Share, add_up, one
from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import gather
from receipt_trainer.extraction.summary import read_receipt

FIELDS: Final = {"company": "merchant", "date": "date", "total": "total"}
"""Keys of the data set, and what the summary of a receipt calls them."""
DATE_ORDER: Final = "dmy"
"""As SROIE's receipts, of Malaysia, write dates."""
CHOOSING: Final = 6
"""One in so many receipts of the training side chooses the epoch."""

Line = dict[str, Any]


@dataclass(frozen=True)
class Fold:
    """Parts of the receipts: learned, choosing the epoch, scored (new companies), scored apart (known ones)."""

    learn: list[Line]
    choose: list[Line]
    new: list[Line]
    known: list[Line]

    def write(self, folder: Path) -> None:
        """One file a part."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in vars(self).items():
            with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as stream:
                stream.writelines(json.dumps(line) + "\n" for line in lines)


def company(line: Line) -> str:
    """The labelled merchant of a line."""
    return merchant((word["text"], word["label"]) for word in line["words"])


def merchant(words: Iterable[tuple[str, str]]) -> str:
    """The merchant's name of words and their labels, letters and digits only."""
    text = "".join(text for text, label in words if label == "MERCHANT_NAME")
    return "".join(char for char in text.lower() if char.isalnum())


def rank(salt: str, name: str) -> bytes:
    """A place in an order that nobody chose."""
    return hashlib.sha256(f"{salt}:{name}".encode()).digest()


def cut(lines: Iterable[Line], folds: int, number: int, seed: int, known: float) -> Fold:
    """Fold `number` of `folds`; `known` is the share of the training side that is scored apart."""
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[company(line)].append(line)
    sides: list[list[str]] = [[] for _ in range(folds)]
    for name in sorted(groups, key=lambda name: rank(str(seed), name)):
        min(sides, key=lambda side: sum(len(groups[one]) for one in side)).append(name)
    rest = [name for side in (*sides[number + 1 :], *sides[:number]) for name in side]
    total = sum(len(groups[name]) for name in rest)
    choosing: list[str] = []
    for name in sorted(rest, key=lambda name: rank(f"choose:{seed}", name)):
        if sum(len(groups[one]) for one in choosing) >= total / CHOOSING:
            break
        if len(groups[name]) <= total / CHOOSING / 2:  # one large company is no sample of new ones
            choosing.append(name)
    learned = [line for name in rest if name not in choosing for line in groups[name]]
    several = [line for name in rest if name not in choosing for line in groups[name][1:]]  # one of each is learned
    apart = sorted(several, key=lambda line: rank(f"known:{seed}", line["id"]))[: int(known * total)]
    left = {line["id"] for line in apart}
    return Fold(
        [line for line in learned if line["id"] not in left],
        [line for name in choosing for line in groups[name]],
        [line for name in sides[number] for line in groups[name]],
        apart,
    )


@dataclass(frozen=True)
class FoldRun:
    """One training: a variant's flags, on a fold, by a seed."""

    variant: str
    flags: tuple[str, ...]
    fold: int
    seed: int

    def folder(self, out: Path) -> Path:
        """Where it is kept."""
        return out / self.variant / f"fold{self.fold}-seed{self.seed}"


def run(trial: FoldRun, parts: Fold, out: Path, threads: int) -> None:
    """Train and score; what is finished is skipped, what was begun is resumed. SystemExit: a command failed."""
    folder = trial.folder(out)
    settings = {"flags": list(trial.flags), "receipts": {name: len(lines) for name, lines in vars(parts).items()}}
    done = folder / "done.json"
    if done.exists():
        if json.loads(done.read_text()) != settings:
            sys.exit(f"{folder} is of other flags or receipts: {done.read_text()}; name the variant otherwise")
        return
    parts.write(folder)
    model = folder / "run"
    data = ["--dataset", f"{folder}/learn.jsonl.gz", "--eval-dataset", f"{folder}/choose.jsonl.gz"]
    rest = ["--job-name", "score", "--output-dir", f"{model}", "--seed", f"{trial.seed}"]
    cli(["train", *data, *rest, "--set", "export_package=false", *trial.flags], threads)
    for part in ("new", "known"):
        if vars(parts)[part]:
            paths = ["--output", f"{folder}/{part}.json", "--predictions", f"{folder}/{part}.predictions.jsonl"]
            cli(["evaluate", "--model", f"{model}", "--dataset", f"{folder}/{part}.jsonl.gz", *paths], threads)
    for checkpoint in model.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    done.write_text(json.dumps(settings))


def cli(arguments: Sequence[str], threads: int) -> None:
    """Run `layoutlm-cli`. SystemExit: it failed."""
    left_out = (ENV_ARTIFACTS_BUCKET, ENV_JOBS_TABLE, ENV_O_ENTITY_RATIO)
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    environment = inherited | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "receipt_trainer.cli.layoutlm", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)


Spans = Callable[[ReceiptPrediction, str], set[tuple[int, int, str]]]


def shares(receipt: ReceiptPrediction, truth: Mapping[str, str], spans: Spans) -> dict[str, Share]:
    """Of one receipt: F1, 2 hits / (labelled + read entities), overall and a label, and values that are right."""
    gold, read = spans(receipt, "gold"), spans(receipt, "pred")
    found = {"F1": Share(2 * len(gold & read), len(gold) + len(read))}
    for label in sorted({span[2] for span in gold | read}):
        here = [{span for span in side if span[2] == label} for side in (gold, read)]
        found[f"F1, {label}"] = Share(2 * len(here[0] & here[1]), len(here[0]) + len(here[1]))
    words = [
        ReadWord(number, word.text, word.box, word.line, word.pred, word.score or 0.0)
        for number, word in enumerate(receipt.words)
    ]
    summary = read_receipt(
        words, gather(words, date_order=DATE_ORDER), lambda of: min(word.score for word in of)
    ).summary
    for key, name in FIELDS.items():
        value = summary[name]
        right = value is not None and (is_right(key, truth[key], value) or same_digits(key, truth[key], value))
        found[f"{name} right"] = one(right)
    found["all three right"] = one(all(found[f"{name} right"].hits for name in FIELDS.values()))
    return found


def read_trial(folder: Path, part: str, spans: Spans) -> dict[str, dict[str, Share]]:
    """The shares of each scored receipt, by its name; none where nothing was scored apart."""
    path = folder / f"{part}.predictions.jsonl"
    if not path.exists():
        return {}
    with gzip.open(folder / f"{part}.jsonl.gz", "rt", encoding="utf-8") as stream:
        truths = {line["id"]: line["fields"] for line in map(json.loads, stream)}
    return {one.name: shares(one, truths[one.name], spans) for one in read_predictions(path).receipts}


def report(console: Console, out: Path, trials: Sequence[FoldRun], spans: Spans, before: Path | None) -> None:
    """Tables of new and of known companies: each variant, and how far it differs from the first, in pairs of receipts.

    A receipt that several seeds have scored counts once, with the sum of its shares. `before` is a file of shares:
    it is written where it is not there, else its variants are compared, too, and come first.
    """
    kept: dict[str, Any] = json.loads(before.read_text()) if before and before.exists() else {}
    shown: dict[str, Any] = {}
    variants = list(dict.fromkeys(trial.variant for trial in trials))
    for part in ("new", "known"):
        found: dict[str, dict[str, dict[str, Share]]] = {}
        for variant in variants:
            seen: dict[str, list[dict[str, Share]]] = defaultdict(list)
            for trial in trials:
                if trial.variant == variant:
                    for name, parts in read_trial(trial.folder(out), part, spans).items():
                        seen[name].append(parts)
            found[variant] = {name: add_up(several) for name, several in seen.items()}
        shown[part] = found
        for variant, seen_then in kept.get(part, {}).items():
            shares_then = {name: {of: Share(*two) for of, two in parts.items()} for name, parts in seen_then.items()}
            found = {f"{variant}, before": shares_then} | found
        if found[variants[0]]:
            compare(console, f"{part} companies, {len(found[variants[0]])} receipts", found)
    if before and not kept:
        before.write_text(json.dumps(shown, default=lambda share: (share.hits, share.total)))
    for variant in variants:
        records: list[Any] = [
            load_record(one.folder(out) / "run" / RUN_FILE) for one in trials if one.variant == variant
        ]
        seconds = sum(record.timings["train_s"] for record in records)
        steps = sum(record.timings["steps"] for record in records)
        console.print(f"{variant}: {steps} steps, {seconds:.0f} s of training")


def compare(console: Console, title: str, found: Mapping[str, Mapping[str, Mapping[str, Share]]]) -> None:
    """A table of the shares of variants by receipt: each one's values, and how far they are from the first one's."""
    (_, first), *_ = found.items()
    table = Table(title, *found)
    for name in add_up(first.values()):
        cells = []
        for seen in found.values():
            pairs = [[one.get(name, Share()) for one in (first[key], seen[key])] for key in first]
            value = sum((pair[1] for pair in pairs), Share()).value
            cell = f"{value:.4f}" if value is not None else "-"
            interval = paired_interval(*zip(*pairs, strict=True), seed=0) if seen is not first else None
            if interval and interval.low is not None and interval.high is not None:
                cell += f"  {interval.difference:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
            cells.append(cell)
        table.add_row(name, *cells)
    console.print(table)
