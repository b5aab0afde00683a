"""Fields read from photos against their truth: from gold words, and from the words that OCR read.

    python -m benchmarks.read_fields GOLD NAME=WORDS... --model RUN...

GOLD is JSON lines with words and `fields` (company, address, date, total). Each WORDS is JSON lines of the same
receipts as another reader gives them: `receipt-trainer receipts ocr IMAGES -o WORDS --gold GOLD`. Each RUN has a
model package and may be given a name (`trained-on-ocr=RUN`). It is read twice: merchants and addresses put right by
those that the package knows of its training receipts, and as they were read.

A field is right if its letters and digits are, dates and amounts if their values are. Each wrong one is printed with
what was to blame: the text (the truth's letters are not among the words that were read), or the label.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.data.sources.record import to_record
from receipt_trainer.extraction.known import make_known
from receipt_trainer.extraction.values import Unreadable, read_amount, read_date
from receipt_trainer.inference.answer import Answer
from receipt_trainer.inference.document_reader import DocumentReader

FIELDS = ("company", "address", "date", "total")


def plain(text: str) -> str:
    """Letters and digits."""
    return "".join(char for char in text.lower() if char.isalnum())


def answer(read: Answer) -> dict[str, str]:
    """The four fields as they are read."""
    addresses = [str(find["value"] or find["text"]) for find in read.fields.get("ADDRESS_LINE", ())]
    dates = [find for find in read.fields.get("DATE", ()) if find.get("ambiguous")]
    return {
        "company": str(read.summary["merchant"] or ""),
        "address": max(addresses, key=len, default=""),
        # Day and month may be open where the receipt proves no order: then the printed text is compared.
        "date": str(read.summary["date"] or (dates[0]["text"] if dates else "")),
        "total": str(read.summary["total"] or ""),
    }


def is_right(name: str, truth: str, read: str) -> bool:
    """Whether a field is read as it is."""
    try:
        if name == "total":
            return read_amount(truth) == read_amount(read)
        if name == "date":
            return read_date(truth, "dmy") == read_date(read, None if read[:4].isdigit() else "dmy")
    except Unreadable:
        pass
    return plain(truth) == plain(read)


def score(name: str, reader: DocumentReader, receipts: Sequence[Receipt], gold: Sequence[Receipt]) -> list[str]:
    """A row of counts; prints what is wrong."""
    right = dict.fromkeys(FIELDS, 0)
    for receipt, truths in zip(receipts, gold, strict=True):
        truth, found = truths.extra["fields"], answer(reader.read(to_record(receipt)))
        everything = "".join(plain(word.text) for word in receipt.words)
        for field in FIELDS:
            if is_right(field, truth[field], found[field]):
                right[field] += 1
                continue
            blame = "label" if plain(truth[field]) in everything else "text"
            print(f"{name}: {receipt.name} {field} ({blame}): {truth[field]!r} read as {found[field]!r}")
    total = len(gold)
    return [name, *(f"{right[field]}/{total}" for field in FIELDS), f"{sum(right.values())}/{4 * total}"]


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gold", type=Path)
    parser.add_argument("words", nargs="*", help="NAME=FILE")
    parser.add_argument("--model", action="append", required=True, help="[NAME=]RUN")
    arguments = parser.parse_args()
    problems = ProblemLog()
    sets = {
        name: list(read_jsonl(Path(path), problems)) for name, path in (one.split("=", 1) for one in arguments.words)
    }
    wanted = set.intersection(*({receipt.name for receipt in one} for one in sets.values())) if sets else None
    gold = [one for one in read_jsonl(arguments.gold, problems) if wanted is None or one.name in wanted]
    sets = {"gold": gold} | {
        name: [next(one for one in receipts if one.name == receipt.name) for receipt in gold]
        for name, receipts in sets.items()
    }
    table = Table("model, words", *FIELDS, "all")
    for model in arguments.model:
        called, _, run = model.rpartition("=")
        for how, known in (("", None), (", none known", make_known((), ()))):
            reader = DocumentReader.open(run, known=known)
            for name, receipts in sets.items():
                table.add_row(*score(f"{called or Path(run).name}, {name}{how}", reader, receipts, gold))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
