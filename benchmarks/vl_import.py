"""Fields that `vl import` reads from the labelled words of drawn documents, against what was drawn.

python -m benchmarks.vl_import --count 200
"""

from __future__ import annotations

import argparse
from collections import Counter
from random import Random
from typing import Any

from receipt_trainer.data.document import at
from receipt_trainer.data.synthetic import receipt_of
from receipt_trainer.data.synthetic.layout import TEMPLATES, lay_out
from receipt_trainer.data.synthetic.locales import locales
from receipt_trainer.data.synthetic.page import PlainFamily
from receipt_trainer.data.synthetic.words import Damage
from receipt_trainer.extraction.document_import import Converter

FIELDS = ("vendor.name", "vendor.address", "vendor.phone", "document_type", "date", "grand_total", "rows")


def compared(found: Any, truth: Any) -> str:
    """What became of a value."""
    if found == truth:
        return "right"
    if found is None:
        return "null"
    texts = isinstance(found, str) and isinstance(truth, str)
    if texts and found.replace(",", "") == truth.replace(",", ""):
        return "right but for a comma"  # where the paper was too narrow nobody can see whether one was meant
    return "cut" if texts and found in truth else "wrong"


def main() -> None:
    """Print a line for each field."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    families = (PlainFamily("mono"), PlainFamily("sans", typewriter=False))
    countries = [(one, families) for one in locales().values()]
    counts: dict[str, Counter[str]] = {field: Counter() for field in FIELDS}
    for index in range(options.count):
        one = lay_out(Random(f"{options.seed}:{index}"), tuple(TEMPLATES), countries, truthful=True)
        found = Converter().document(receipt_of(one, "r", "s", Random(0), Damage()))
        truth = one.truth
        values = {field: (at(found, field), at(truth, field)) for field in FIELDS[:-1]}
        values["rows"] = len(found["line_items"]), sum(item["total"] > 0 for item in truth["line_items"])
        for field, (ours, true) in values.items():
            if true is not None:
                counts[field][compared(ours, true)] += 1
    for field, told in counts.items():
        shares = ", ".join(f"{count} {what}" for what, count in told.most_common())
        print(f"{field:15} of {told.total()}: {shares}")


if __name__ == "__main__":
    main()
