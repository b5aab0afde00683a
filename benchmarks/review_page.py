"""How fast a person gets through the review queue of the page: 100 receipts in headless Chromium.

.venv/bin/python benchmarks/review_page.py --model RUN [--receipts 100]

A person looks at each receipt for `--look` seconds. A right one takes one key (Enter), every fourth has a word
relabelled by two more. Prints the time from the key to the frame in which the next receipt
stands, the page's size, and its first paint.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate
from receipt_trainer.serving.app import create_app
from receipt_trainer.serving.corrections import FileCorrections
from receipt_trainer.serving.holder import Holder
from receipt_trainer.serving.review import queue_of_file
from tests.serving.browser import chromium, opened, served

if TYPE_CHECKING:
    from playwright.sync_api import Page

WATCH = """() => {
    window.stood = [];
    let pressed = 0;
    addEventListener("keydown", (event) => { pressed = event.key === "Enter" ? performance.now() : pressed; }, true);
    new MutationObserver(() => requestAnimationFrame(() => setTimeout(() => stood.push(performance.now() - pressed))))
        .observe(document.body, { attributeFilter: ["data-key"] });
}"""
WEIGHT = """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
    .filter((one) => !one.name.includes("/v1/")).reduce((sum, one) => sum + one.decodedBodySize, 0)"""
PAINT = """() => performance.getEntriesByName("first-contentful-paint")[0].startTime"""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--receipts", type=int, default=100)
    parser.add_argument("--look", type=float, default=1.0)
    args = parser.parse_args()
    holder = Holder.fixed(args.model)
    with tempfile.TemporaryDirectory() as folder:
        review(holder, args.receipts, args.look, Path(folder))


def review(holder: Holder, number: int, look_s: float, folder: Path) -> None:
    """Go through the whole queue."""
    lines = [to_line(receipt) for receipt in generate(number, 5)]
    (folder / "review.jsonl").write_text("".join(lines), encoding="utf-8")
    queue, known = queue_of_file(holder, folder / "review.jsonl", folder / "corrections.jsonl")
    queue.start()
    queue.is_read.wait()
    corrections = FileCorrections(folder / "corrections.jsonl", known=known)
    app = create_app(holder, corrections=corrections, review=queue)
    with (
        served(app) as url,
        chromium() as browser,
        opened(browser, url, viewport={"width": 1280, "height": 860}) as page,
    ):
        page.wait_for_selector("#panel:visible")
        page.evaluate(WATCH)
        for place in range(number):
            page.wait_for_timeout(1000 * look_s)
            press(page, place)
        page.wait_for_selector("text=receipts are reviewed")
        stood: list[float] = page.evaluate("stood")
        print(f"{len(stood)} receipts stood after: median {statistics.median(stood):.0f} ms,", end=" ")
        print(f"95 of 100 {sorted(stood)[int(len(stood) * 0.95)]:.0f} ms, slowest {max(stood):.0f} ms")
        print(f"page {page.evaluate(WEIGHT) / 1024:.0f} KB, first paint {page.evaluate(PAINT):.0f} ms")
    queue.close()
    print(f"{sum(entry['state'] == 'done' for entry in queue.entries())} of {number} confirmed in the file")


def press(page: Page, place: int) -> None:
    """Confirm the receipt that stands, every fourth with a word corrected."""
    key = page.evaluate("document.body.dataset.key")
    if place % 4 == 3:
        page.keyboard.press("ArrowRight")
        page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "key => document.body.dataset.key !== key || document.body.dataset.state === 'empty'", arg=key
    )


if __name__ == "__main__":
    main()
