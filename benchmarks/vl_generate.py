"""Synthetic documents: CPU time for words alone and for pages by template and level; bytes of an image.

python benchmarks/vl_generate.py --count 120
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Mapping

import numpy as np

from receipt_trainer.data.synthetic import generate
from receipt_trainer.data.synthetic.layout import TEMPLATES, LaidOut, lay_out_example
from receipt_trainer.data.synthetic.locales import Language, languages
from receipt_trainer.data.synthetic.render import FontFamily, drawable, encode, fonts_of


def main() -> None:
    """Print a table of CPU seconds (not of the clock: other work on the machine does not count)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=120, help="documents of each template")
    count = parser.parse_args().count
    list(generate(50, 1))  # fonts and names are loaded once a process
    start = time.process_time()
    words = sum(len(receipt.words) for receipt in generate(5 * count, 0))
    took = 1000 * (time.process_time() - start) / (5 * count)
    print(f"receipts as words alone: {took:.2f} ms and {words / (5 * count):.0f} words each")
    codes, left_out = drawable(())
    fonts = {languages()[code]: fonts_of(languages()[code]) for code in codes}
    print(f"languages {' '.join(codes)}; left out, no font has their letters: {' '.join(left_out) or 'none'}")
    print(f"{'template':10} {'lines':>6} {'layout ms':>10} {'clean ms':>9} {'kB':>6} {'photo ms':>9} {'kB':>6}")
    for name in TEMPLATES:
        lay_out(name, fonts, 8)
        start = time.process_time()
        pages = lay_out(name, fonts, count)
        layout = 1000 * (time.process_time() - start) / count
        cells = [f"{sum(len(one.document.items) for one in pages) / count:6.1f}", f"{layout:10.1f}"]
        for photo in (False, True):
            start = time.process_time()
            size = sum(
                len(encode(one.page, np.random.default_rng([0, index, 0]) if photo else None))
                for index, one in enumerate(pages)
            )
            cells += [f"{1000 * (time.process_time() - start) / count:9.1f}", f"{size / count / 1000:6.1f}"]
        print(f"{name:10} {' '.join(cells)}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def lay_out(template: str, fonts: Mapping[Language, tuple[FontFamily, ...]], count: int) -> list[LaidOut]:
    """`count` documents on their pages, with their truth."""
    found = [lay_out_example(0, index, (template,), fonts) for index in range(count)]
    assert all(one.truth for one in found)
    return found


if __name__ == "__main__":
    main()
