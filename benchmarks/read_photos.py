"""OCR of photos: CPU seconds, words found, memory; and of drawn pages that lie on their side, on their head or askew.

    python -m benchmarks.read_photos IMAGES GOLD [--repeat N]     photos and their gold words (JSON lines)
    python -m benchmarks.read_photos --turned [--pages 50]        drawn receipts, photographed, in several positions

Word recall: the share of gold words that are found exactly, letters and digits only, each as often as it occurs.
"Inside": found somewhere in all that was read, spaces left out. CPU is that of the process; the models have one thread.
`--repeat` reads the photos again and again and tells how memory grows. Photos are for scoring alone: what is tuned is
tuned on drawn pages.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.data.synthetic import receipt_of
from receipt_trainer.data.synthetic.layout import lay_out_example
from receipt_trainer.data.synthetic.locales import languages
from receipt_trainer.data.synthetic.render import draw, fonts_of, photograph
from receipt_trainer.data.synthetic.words import Damage
from receipt_trainer.inference.ocr import Ocr
from receipt_trainer.pages.documents import open_pages

GROUND = (90, 90, 90)
"""What a drawn page lies on."""
LANGUAGES = ("en", "de", "fr", "es", "it")
POSITIONS = (0.0, 90.0, 180.0, 270.0, 2.0, -2.0, 5.0, -5.0)
"""Degrees counterclockwise."""


@dataclass
class PhotoScore:
    """Sums over pages."""

    gold: int = 0
    found: int = 0
    inside: int = 0
    wrong_turns: int = 0
    cpu_s: list[float] = field(default_factory=list)

    def add(self, receipt: Receipt, texts: Sequence[str], cpu_s: float) -> None:
        """Count the words of one page."""
        gold, read = (Counter(filter(None, map(plain, words))) for words in ([w.text for w in receipt.words], texts))
        everything = "".join(map(plain, texts))
        self.gold += gold.total()
        self.found += (gold & read).total()
        self.inside += sum(count for word, count in gold.items() if word in everything)
        self.cpu_s.append(cpu_s)

    def row(self, name: str) -> list[str]:
        """As cells of the table."""
        return [
            name,
            f"{self.found / self.gold:.4f}",
            f"{self.inside / self.gold:.4f}",
            f"{self.gold}",
            f"{statistics.median(self.cpu_s):.2f}",
            f"{max(self.cpu_s):.2f}",
            f"{self.wrong_turns}",
        ]


def plain(text: str) -> str:
    """Letters and digits."""
    return "".join(char for char in text.lower() if char.isalnum())


def hard_photo(seed: int, index: int, turn: float, size_of: float = 1.0) -> tuple[Image.Image, Receipt]:
    """A drawn receipt as a poor photo (light, folds, perspective, blur, noise, JPEG, any size), and its words.

    Args:
        turn: degrees counterclockwise.
        size_of: below 1 the photo is so much smaller, and its letters are harder to read.
    """
    known = [languages()[code] for code in LANGUAGES]
    templates = ("thermal", "thermal", "bistro")
    laid_out = lay_out_example(seed, index, templates, {language: fonts_of(language) for language in known})
    rng = np.random.default_rng([seed, index])
    pixels = np.asarray(photograph(draw(laid_out.page), rng))
    height, width = pixels.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    moved = corners + rng.uniform(-0.03, 0.03, (4, 2)).astype(np.float32) * min(width, height)
    moved -= moved.min(axis=0)
    size = [int(edge) for edge in np.ceil(moved.max(axis=0))]
    matrix = cv2.getPerspectiveTransform(corners, moved)
    pixels = np.asarray(cv2.warpPerspective(pixels, matrix, size, flags=cv2.INTER_CUBIC, borderValue=GROUND))
    scale = size_of * rng.uniform(0.75, 1.9)
    pixels = np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))
    pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), max(0.3, rng.uniform(0.3, 1.1) * scale)))
    noisy = pixels + rng.normal(0, rng.uniform(1, 9), pixels.shape)
    encoded = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8), [1, int(rng.integers(35, 85))])[1]
    image = Image.fromarray(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8))
    receipt = receipt_of(laid_out, f"drawn-{index}", "drawn", Random(0), Damage())
    return image.rotate(turn, Image.Resampling.BICUBIC, expand=True, fillcolor=GROUND), receipt


def read_turned(ocr: Ocr, pages: int, seed: int) -> list[list[str]]:
    """Scores of drawn pages in each position."""
    rows = []
    for position in POSITIONS:
        score = PhotoScore()
        for index in range(pages):
            image, receipt = hard_photo(seed, index, position)
            start = time.process_time()
            page = ocr.read(image)
            score.add(receipt, [word.text for word in page.words], time.process_time() - start)
            score.wrong_turns += page.turned != round(position / 90) * 90 % 360
        rows.append(score.row(f"{position:g} degrees"))
        print(*rows[-1], file=sys.stderr, flush=True)
    return rows


def read_photos(ocr: Ocr, paths: Sequence[Path], gold: dict[str, Receipt], repeat: int) -> list[list[str]]:
    """Scores of photos, and of each further time that they are read."""
    rows = []
    for time_around in range(repeat):
        score = PhotoScore()
        for path in paths:
            start = time.process_time()
            texts = [word.text for page in open_pages(path) for word in ocr.read(page.image).words]
            score.add(gold[path.stem], texts, time.process_time() - start)
            if not time_around and len(score.cpu_s) == 1:
                print(f"start to first photo: {time.process_time():.2f} CPU s", file=sys.stderr)
        rows.append(score.row(f"{len(paths)} photos; peak RSS {peak_mb()} MB"))
    return rows


def peak_mb() -> int:
    """The most memory that the process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="?", type=Path)
    parser.add_argument("gold", nargs="?", type=Path)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--turned", action="store_true")
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    ocr = Ocr()
    if arguments.turned:
        rows = read_turned(ocr, arguments.pages, arguments.seed)
    elif arguments.images and arguments.gold:
        gold = {receipt.name: receipt for receipt in read_jsonl(arguments.gold, ProblemLog())}
        paths = [path for path in sorted(arguments.images.iterdir()) if path.stem in gold]
        rows = read_photos(ocr, paths, gold, arguments.repeat)
    else:
        parser.error("give IMAGES and GOLD, or --turned")
    table = Table("pages", "word recall", "inside", "words", "CPU s p50", "max", "wrong turns")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
