"""Seconds of the tree edit distance of two tables, exact and bounded, and how they grow with the rows.

python benchmarks/teds.py [--rows 10 --rows 100]
"""

from __future__ import annotations

import argparse
import random
import time

from receipt_trainer.evaluation.line_items import Row, row_of
from receipt_trainer.evaluation.teds import aligned_distance, edit_distance, text_cost

WORDS = ("coffee", "cake", "tea", "bread", "butter", "paper", "screws", "cable", "lamp", "chair")


def table(num_rows: int, seed: int) -> list[Row]:
    """Rows of an invoice."""
    draw = random.Random(seed)
    items = [
        {
            "description": " ".join(draw.choices(WORDS, k=4)),
            "quantity": draw.randint(1, 20),
            "unit_price": draw.randint(100, 9999) / 100,
            "total": draw.randint(100, 99999) / 100,
        }
        for _ in range(num_rows)
    ]
    return [row_of(item) for item in items]


def wrong(rows: list[Row], seed: int) -> list[Row]:
    """The same with every fourth row changed or left out."""
    draw = random.Random(seed)
    other = table(len(rows), seed)
    kept = [other[at] if draw.random() < 0.125 else row for at, row in enumerate(rows)]
    return [row for row in kept if draw.random() > 0.125]


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, action="append")
    print("rows  exact s  distance  bounded s  distance")
    for num_rows in parser.parse_args().rows or [5, 10, 25, 50, 100]:
        gold = table(num_rows, 1)
        found = wrong(gold, 2)
        measured = []
        for measure in (edit_distance, aligned_distance):
            text_cost.cache_clear()
            before = time.perf_counter()
            distance = measure(gold, found)
            measured += [time.perf_counter() - before, distance]
        print("{:4d}  {:7.2f}  {:8.2f}  {:9.2f}  {:8.2f}".format(num_rows, *measured))


if __name__ == "__main__":
    main()
