"""Reading labelled receipts from DynamoDB: a query per word, a plain scan, and ours, on the embedded AWS.

    python benchmarks/read_table.py [--receipts 2000] [--sample 100]

Fills a table (50 words a receipt, 15 of them labelled) and counts what each way costs. Requests and items are what
DynamoDB would see and bill. The seconds are the emulator's, whose work grows with the items it looks at, so they say
little about AWS, where a request costs some milliseconds of network wherever it goes.
"""

from __future__ import annotations

import argparse
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract.names import CORE_LABELS, ENV_RECEIPTS_TABLE
from receipt_trainer.contract.tables import image_pk, word_sk
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt, Word, WordLabel, image_id_for
from receipt_trainer.data.sources.dynamodb.read import read_labelled
from receipt_trainer.data.sources.dynamodb.write import import_receipts
from receipt_trainer.local.emulator import LocalCloud

WORDS_A_LINE, LINES = 5, 10


def make_receipt(number: int) -> Receipt:
    """A receipt of 50 words in 10 lines, the same for the same number."""
    rng = random.Random(number)
    labelled = set(rng.sample(range(WORDS_A_LINE * LINES), 15))
    words = []
    for index in range(WORDS_A_LINE * LINES):
        line, column = divmod(index, WORDS_A_LINE)
        left, top = round(0.02 + 0.19 * column, 4), round(0.05 + 0.09 * line, 4)
        box = (left, top, round(left + 0.16, 4), round(top + 0.04, 4))
        labels = (WordLabel(rng.choice(CORE_LABELS)),) if index in labelled else ()
        words.append(Word("".join(rng.choices("ABCDEFGHIJ0123456789.", k=6)), box, line, labels))
    name = f"bench-{number:06d}"
    return Receipt(image_id_for("bench", name), 1, tuple(words), name, "bench", "train", 800, 1600)


class ReadMeter:
    """Counts HTTP requests, items and bytes of a client, by botocore's own events."""

    def __init__(self, client: Any) -> None:
        self.requests = self.items = self.bytes = 0
        self._lock = threading.Lock()
        client.meta.events.register("before-send.dynamodb", self._sent)
        client.meta.events.register("after-call.dynamodb", self._answered)

    def _sent(self, **_: Any) -> None:
        with self._lock:
            self.requests += 1

    def _answered(self, http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        with self._lock:
            self.items += len(parsed.get("Items", ()))
            self.bytes += len(http_response.content)


def query_per_word(client: Any, table: str, receipts: list[Receipt]) -> Iterator[dict[str, Any]]:
    """The naive way: one query for each word, which finds the word and its labels. The keys are given for nothing."""
    for receipt in receipts:
        for index in range(len(receipt.words)):
            line, column = divmod(index, WORDS_A_LINE)
            values = {":pk": image_pk(receipt.image_id), ":sk": word_sk(receipt.receipt_id, line + 1, column + 1)}
            condition = "PK = :pk AND begins_with(SK, :sk)"
            yield from dynamo.query(
                client, table, "naive", KeyConditionExpression=condition, ExpressionAttributeValues=values
            )


def measure(read: Callable[[Any], Any]) -> tuple[ReadMeter, float]:
    """Run `read` with a client of its own; what it cost, and the seconds it took."""
    client = clients.dynamodb()
    meter = ReadMeter(client)
    start = time.perf_counter()
    read(client)
    return meter, time.perf_counter() - start


def compare(receipts: list[Receipt], sample: list[Receipt], table: str) -> Table:
    """Measure the three ways; every figure of the first is of the sample, times the share it is."""
    found: list[Receipt] = []
    share = len(receipts) / len(sample)
    rows = {
        f"query per word (measured on {len(sample)} receipts, x {share:g})": (
            share,
            measure(lambda client: list(query_per_word(client, table, sample))),
        ),
        "plain scan": (1.0, measure(lambda client: list(dynamo.scan(client, table, "scan")))),
        "ours": (1.0, measure(lambda client: found.extend(read_labelled(table, ProblemLog(), client=client)))),
    }
    if found != sorted(receipts, key=lambda receipt: receipt.key):
        raise SystemExit("what was read is not what was written")
    ours = rows["ours"][1][0].requests
    shown = Table("way", title=f"{len(receipts)} receipts, {sum(len(r.words) for r in receipts):,} words")
    for column in ("requests", "items sent", "MB sent", "seconds", "requests / ours"):
        shown.add_column(column, justify="right")
    for name, (scale, (meter, seconds)) in rows.items():
        figures = (meter.requests * scale, meter.items * scale)
        ratio = f"{meter.requests * scale / ours:.2f}"
        megabytes = f"{meter.bytes * scale / 1e6:.1f}"
        shown.add_row(name, *(f"{figure:,.0f}" for figure in figures), megabytes, f"{seconds * scale:.1f}", ratio)
    return shown


def main() -> None:
    """Fill the table, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receipts", type=int, default=2000)
    parser.add_argument("--sample", type=int, default=100, help="receipts that are read by a query per word")
    options = parser.parse_args()
    receipts = [make_receipt(number) for number in range(options.receipts)]
    console = Console(width=140)
    with LocalCloud(prefix="bench-") as cloud:
        os.environ.update(cloud.environment())
        table = os.environ[ENV_RECEIPTS_TABLE]
        start = time.perf_counter()
        done = import_receipts(table, receipts, ProblemLog())
        console.print(f"filled with {done.items_put:,} items in {time.perf_counter() - start:.0f} s")
        console.print(compare(receipts, receipts[: options.sample], table))


if __name__ == "__main__":
    main()
