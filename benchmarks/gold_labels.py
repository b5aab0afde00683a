"""What extraction makes of people's own labels: rows of line items, and values against the keys of the data set.

    python -m benchmarks.gold_labels cord.train.jsonl.gz sroie.train.jsonl.gz [--wrong]
    python -m benchmarks.gold_labels sroie.dev.jsonl.gz --misread 3 --severity 0.4 --known sroie.train.jsonl.gz

A file has receipts as JSON lines, their words with `label`. Where words have `group`, as CORD's have (the line item
they belong to), a row is right if it has exactly the words of a group. Where a receipt has `fields`, {company, date,
total} as SROIE's or {total: {total_price}} as CORD's, values are compared with them: company by letters and digits,
date and total by value. They are read twice: with nothing learned, and with what a model's package would know of the
files: the order of dates and the meaning of marks in amounts, as counted in all files together.

With --totals the total of the summary is compared with the labelled ones, read with certainty: right, wrong, or left
open. All words have --score as their probability, and with `without` the labels of totals are taken away first, as a
model might miss them; a total where people labelled none is a wrong one.

    python -m benchmarks.gold_labels wildreceipt.train.jsonl.gz --totals with --score 0.9
    python -m benchmarks.gold_labels wildreceipt.train.jsonl.gz --totals without --score 0.9

With --misread each receipt is read so often as OCR might have read it (`data.ocr_errors`), without and with the
merchants and addresses that a package of --known would have.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.read_fields import is_right
from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data import ocr_errors
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.extraction.dates import date_orders
from receipt_trainer.extraction.finds import amount_marks, find_fields, gather, labelled_words
from receipt_trainer.extraction.items import ITEM_LABELS, rows
from receipt_trainer.extraction.known import Known, known_of, make_known
from receipt_trainer.extraction.summary import read_receipt


def rows_of(receipts: Sequence[Receipt], *, wrong: bool) -> str:
    """How many rows are wholly right, of how many, as text."""
    right = groups = whole = count = 0
    for receipt in receipts:
        words = labelled_words(receipt)
        wanted: dict[object, set[int]] = {}
        for word, read in zip(receipt.words, words, strict=True):
            if read.label in ITEM_LABELS and "group" in word.extra:
                wanted.setdefault(word.extra["group"], set()).add(read.number)
        if not wanted:
            continue
        found = [frozenset(word.number for word in row) for row in rows(words)]
        good = [group for group in wanted.values() if frozenset(group) in found]
        right, groups = right + len(good), groups + len(wanted)
        count, whole = count + 1, whole + (len(good) == len(wanted) == len(found))
        if wrong and len(good) < len(wanted):
            print(receipt.name)
            for row in rows(words):
                mark = " " if frozenset(word.number for word in row) in map(frozenset, wanted.values()) else "!"
                print(mark, " ".join(f"{word.text}[{word.label[:4]} {word.line}]" for word in row))
    return f"{right} of {groups} rows wholly right, {whole} of {count} receipts"


def truth_of(receipt: Receipt) -> dict[str, str]:
    """The keys of a receipt; a total alone for CORD."""
    fields = receipt.extra.get("fields") or {}
    total = fields.get("total")
    if isinstance(total, Mapping):
        price = total.get("total_price")
        return {"total": price} if isinstance(price, str) else {}
    return {name: fields[name] for name in ("company", "address", "date", "total") if isinstance(fields.get(name), str)}


def learned_of(receipts: Sequence[Receipt]) -> dict[str, Any]:
    """What a model's package knows of its training receipts, as `gather` takes it."""
    dates = [
        " ".join(word.text for word in run)
        for receipt in receipts
        for _, run in groupby(
            (word for word in receipt.words if word.valid_label() == "DATE"), key=lambda word: word.line
        )
    ]
    return {"learned": date_orders(dates), "marks": amount_marks(receipts)}


def values_of(
    receipts: Sequence[Receipt], learned: Mapping[str, Any], *, known: Known | None = None, wrong: bool = False
) -> str:
    """How many values are those of the keys, and how many are left open, as text."""
    right, open_, counts = Counter[str](), Counter[str](), Counter[str]()
    before = time.process_time()
    for receipt in receipts:
        words = labelled_words(receipt)
        reading = read_receipt(words, gather(words, **learned), certain, known)
        addresses = reading.fields.get("ADDRESS_LINE", ())
        values = {
            **reading.summary,
            "company": reading.summary["merchant"],
            "address": addresses[0].value if addresses else None,
        }
        for name, truth in truth_of(receipt).items():
            value = values[name]
            counts[name] += 1
            open_[name] += value is None
            # A key's own mark is as unclear as the receipt's: 45,500 is compared by its digits.
            good = value is not None and (is_right(name, truth, value) or same_digits(name, truth, value))
            right[name] += good
            if wrong and not good:
                print(f"{receipt.name} {name}: {truth!r} read as {value!r}")
    ms = 1000 * (time.process_time() - before) / max(1, len(receipts))
    said = [f"{name} {right[name]} of {counts[name]} ({open_[name]} open)" for name in counts]
    return ", ".join(said) + f"; {ms:.1f} ms of CPU a receipt"


def totals_of(receipts: Sequence[Receipt], learned: Mapping[str, Any], score: float, *, labelled: bool) -> str:
    """How many totals are those that people labelled, as text."""
    counts = Counter[str]()
    for receipt in receipts:
        sure = labelled_words(receipt)
        gold = {find.amount for find in find_fields(sure, gather(sure, **learned), certain).get("GRAND_TOTAL", ())}
        words = [replace(word, score=score) for word in sure]
        if not labelled:
            words = [replace(word, label=OUTSIDE) if word.label == "GRAND_TOTAL" else word for word in words]
        total = read_receipt(words, gather(words, **learned), certain).summary["total"]
        counts["open" if total is None else "right" if Decimal(total) in gold else "wrong"] += 1
    return f"{counts['right']} right, {counts['wrong']} wrong, {counts['open']} open"


def certain(words: object) -> float:
    """The confidence of people's labels."""
    return 1.0


def same_digits(name: str, truth: str, value: str) -> bool:
    """Whether a total has the digits of its key, all of them whole units."""
    return name == "total" and "." not in value and "".join(filter(str.isdigit, truth)) == value


def main() -> None:
    """Count, some lines a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--wrong", action="store_true", help="print what is wrong")
    parser.add_argument("--misread", type=int, default=0, metavar="N", help="read each receipt N times as OCR might")
    parser.add_argument("--severity", type=float, default=ocr_errors.SEVERITY, help="of the misreading")
    parser.add_argument("--known", type=Path, help="receipts whose merchants and addresses are known")
    parser.add_argument("--totals", choices=["with", "without"], help="compare totals, with or without their labels")
    parser.add_argument("--score", type=float, default=1.0, help="probability of each word's label for --totals")
    args = parser.parse_args()
    ocr_errors.SEVERITY = args.severity  # type: ignore[misc]
    files = {path: list(read_jsonl(path, ProblemLog())) for path in args.files}
    learned = learned_of([receipt for receipts in files.values() for receipt in receipts])
    for path, receipts in files.items():
        if args.totals:
            totals = totals_of(receipts, learned, args.score, labelled=args.totals == "with")
            print(f"{path.name}, totals {args.totals} their labels: {totals}")
            continue
        if any("group" in word.extra for receipt in receipts for word in receipt.words):
            print(f"{path.name}: {rows_of(receipts, wrong=args.wrong)}")
        if any(truth_of(receipt) for receipt in receipts):
            print(f"{path.name}, nothing learned: {values_of(receipts, {})}")
            print(f"{path.name}, learned: {values_of(receipts, learned, wrong=args.wrong)}")
        if args.misread:
            rng = Random(0)
            copies = [ocr_errors.misread(receipt, rng) for receipt in receipts for _ in range(args.misread)]
            print(f"{path.name}, misread, nothing known: {values_of(copies, learned)}")
            if args.known is not None:
                texts = known_of(read_jsonl(args.known, ProblemLog()))
                known = make_known(texts["merchants"], texts["addresses"])
                said = f"{len(texts['merchants'])} merchants, {len(texts['addresses'])} addresses known"
                print(f"{path.name}, misread, {said}: {values_of(copies, learned, known=known, wrong=args.wrong)}")


if __name__ == "__main__":
    main()
