"""Drawing documents: documents a second on one core, by template and level, and bytes of an image.

python benchmarks/vl_generate.py --count 120
"""

from __future__ import annotations

import argparse
import resource
import time

from receipt_trainer.models.paddleocr_vl.synthetic.dataset import encode_image
from receipt_trainer.models.paddleocr_vl.synthetic.draw import Drawn, draw_example
from receipt_trainer.models.paddleocr_vl.synthetic.languages import LANGUAGES, drawable, fonts_of
from receipt_trainer.models.paddleocr_vl.synthetic.templates import TEMPLATES


def main() -> None:
    """Print a table of CPU seconds (not of the clock: other work on the machine does not count)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=120, help="documents of each template")
    count = parser.parse_args().count
    codes, left_out = drawable(())
    print(f"languages {' '.join(codes)}; left out for want of a font: {' '.join(left_out) or 'none'}")
    print(f"{'template':10} {'lines':>6} {'layout ms':>10} {'clean ms':>9} {'kB':>6} {'photo ms':>9} {'kB':>6}")
    drawn: dict[str, list[Drawn]] = {}
    for name in TEMPLATES:
        measure(name, codes, 8)  # fonts and letters are loaded once a process
        start = time.process_time()
        drawn[name] = measure(name, codes, count)
        layout = 1000 * (time.process_time() - start) / count
        cells = [f"{sum(len(one.truth['line_items']) for one in drawn[name]) / count:6.1f}", f"{layout:10.1f}"]
        for photo in (False, True):
            start = time.process_time()
            size = sum(len(encode_image(one, 0, index, photo)) for index, one in enumerate(drawn[name]))
            cells += [f"{1000 * (time.process_time() - start) / count:9.1f}", f"{size / count / 1000:6.1f}"]
        print(f"{name:10} {' '.join(cells)}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def measure(template: str, codes: tuple[str, ...], count: int) -> list[Drawn]:
    """Lay out `count` documents."""
    languages = [(LANGUAGES[code], fonts_of(LANGUAGES[code])) for code in codes]
    return [draw_example(0, index, (template,), languages) for index in range(count)]


if __name__ == "__main__":
    main()
