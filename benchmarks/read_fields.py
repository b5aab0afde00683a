"""Fields read from photos against their truth: from gold words, and from the words that OCR read.

    python -m benchmarks.read_fields GOLD NAME=WORDS... --model RUN... [--known TRAIN]

GOLD is JSON lines with words and `fields` (company, address, date, total). Each WORDS is JSON lines of the same
receipts as another reader gives them: `receipt-trainer receipts ocr IMAGES -o WORDS --gold GOLD`. Each RUN is a trained
LayoutLM, which may be given a name (`trained-on-ocr=RUN`). `--known` also puts merchants and addresses right by those
of training receipts.

A field is right if its letters and digits are, dates and amounts if their values are. Each wrong one is printed with
what was to blame: the text (the truth's letters are not among the words that were read), or the label.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from receipt_trainer.cli.trained import open_reader
from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.decode import choose
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import gather
from receipt_trainer.extraction.known import Known, known_of, make_known
from receipt_trainer.extraction.summary import read_receipt
from receipt_trainer.extraction.values import Unreadable, read_amount, read_date

FIELDS = {"company": "MERCHANT_NAME", "address": "ADDRESS_LINE", "date": "DATE", "total": "GRAND_TOTAL"}


def plain(text: str) -> str:
    """Letters and digits."""
    return "".join(char for char in text.lower() if char.isalnum())


def labelled(run: str, receipts: Sequence[Receipt]) -> list[list[ReadWord]]:
    """The words of each receipt with the labels that a model gives them."""
    reader = open_reader(run, "cpu", "fp32")
    split, found = reader.read(receipts)
    chosen = choose(found.probabilities, split.words, reader.space, scored=False)
    labels = (OUTSIDE, *reader.space.labels)
    read = []
    for row, receipt in enumerate(receipts):
        first = int(split.words.offsets[row])
        read.append(
            [
                ReadWord(
                    n, word.text, word.box, word.line, labels[chosen[first + n]],
                    float(found.probabilities[first + n, chosen[first + n]]), word.confidence,
                )
                for n, word in enumerate(receipt.words)
            ]
        )  # fmt: skip
    return read


def answer(words: Sequence[ReadWord], known: Known | None) -> dict[str, str]:
    """The four fields as they are read."""
    reading = read_receipt(words, gather(words), lambda of: min(word.score for word in of), known)
    addresses = [str(find.value or find.text) for find in reading.fields.get("ADDRESS_LINE", ())]
    summary: dict[str, Any] = dict(reading.summary)
    dates = [find for find in reading.fields.get("DATE", ()) if find.ambiguous]
    return {
        "company": str(summary["merchant"] or ""),
        "address": max(addresses, key=len, default=""),
        # Day and month may be open where the receipt proves no order: then the printed text is compared.
        "date": str(summary["date"] or (dates[0].text if dates else "")),
        "total": str(summary["total"] or ""),
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


def score(name: str, read: Sequence[list[ReadWord]], gold: Sequence[Receipt], known: Known | None) -> list[str]:
    """A row of counts; prints what is wrong."""
    right = dict.fromkeys(FIELDS, 0)
    for words, receipt in zip(read, gold, strict=True):
        truth, found = receipt.extra["fields"], answer(words, known)
        everything = "".join(plain(word.text) for word in words)
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
    parser.add_argument("--known", type=Path)
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
    known = None
    if arguments.known:
        texts = known_of(read_jsonl(arguments.known, problems))
        known = make_known(texts["merchants"], texts["addresses"])
    table = Table("model, words", *FIELDS, "all")
    for model in arguments.model:
        called, _, run = model.rpartition("=")
        for name, receipts in sets.items():
            read = labelled(run, receipts)
            table.add_row(*score(f"{called or Path(run).name}, {name}", read, gold, None))
            if known is not None:
                table.add_row(*score(f"{called or Path(run).name}, {name}, known", read, gold, known))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
