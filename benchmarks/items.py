"""Rows of line items from people's labels, against CORD's own groups: how many are wholly right.

    python -m benchmarks.items cord.train.jsonl.gz cord.dev.jsonl.gz [--wrong]

A file has receipts as JSON lines; their words have `label` and, as CORD has it, `group`: the line item they belong to.
A row is right if it has exactly the words of a group.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.items import ITEM_LABELS, rows


def main() -> None:
    """Count, a line a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--wrong", action="store_true", help="print the rows that are wrong")
    args = parser.parse_args()
    for path in args.files:
        right = groups = whole = receipts = 0
        for receipt in read_jsonl(path, ProblemLog()):
            words = [
                ReadWord(number, word.text, word.box, word.line, word.valid_label() or "O", 1.0)
                for number, word in enumerate(receipt.words)
            ]
            wanted: dict[object, set[int]] = {}
            for word, read in zip(receipt.words, words, strict=True):
                if read.label in ITEM_LABELS:
                    wanted.setdefault(word.extra.get("group"), set()).add(read.number)
            found = [frozenset(word.number for word in row) for row in rows(words)]
            good = [group for group in wanted.values() if frozenset(group) in found]
            right, groups = right + len(good), groups + len(wanted)
            receipts, whole = receipts + bool(wanted), whole + (bool(wanted) and len(good) == len(wanted) == len(found))
            if args.wrong and len(good) < len(wanted):
                print(receipt.name)
                for row in rows(words):
                    mark = " " if frozenset(word.number for word in row) in map(frozenset, wanted.values()) else "!"
                    print(mark, " ".join(f"{word.text}[{word.label[:4]} {word.line}]" for word in row))
        print(f"{path.name}: {right} of {groups} rows wholly right, {whole} of {receipts} receipts")


if __name__ == "__main__":
    main()
