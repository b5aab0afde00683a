"""What it brings that the words of a line are read together, by the cost of a change beside a name.

    python -m benchmarks.whole_lines OUT/half/fold1-seed0 --part choose --cost 1 --cost 2

The folder is one that `scores.py --by-company OUT` has made: its model reads a part of its receipts once, and each cost
is compared with none in pairs of receipts.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

from rich.console import Console

from benchmarks import companies
from benchmarks.scores import spans
from receipt_trainer.cli.trained import open_reader
from receipt_trainer.data import decode
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.load import load_receipts
from receipt_trainer.models.layoutlm import predictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=("choose", "new", "known"), default="new")
    parser.add_argument("--cost", type=float, action="append", help=f"by default {decode.CHANGE}, that of the program")
    options = parser.parse_args()
    costs = [0.0, *(options.cost or [decode.CHANGE])]
    path = options.folder / f"{options.part}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        truths = {line["id"]: line["fields"] for line in map(json.loads, stream)}
    reader = open_reader(str(options.folder / "run"), "cpu", "auto")
    predictor.whole_lines = lambda alone, *_: alone  # type: ignore[attr-defined]
    split, alone = reader.read(load_receipts(str(path), ProblemLog()))
    words, space = split.words, reader.space
    found = {}
    for cost in costs:
        seen = decode.whole_lines(alone.probabilities, words.lines, words.offsets, space, cost)
        read = decode.receipt_predictions(words, seen, decode.choose(seen, words, space), space)
        found[f"{cost:g}"] = {one.key: companies.shares(one, truths[one.name], spans) for one in read}
    companies.compare(Console(width=200), f"{options.part}, {len(truths)} receipts", found)


if __name__ == "__main__":
    main()
