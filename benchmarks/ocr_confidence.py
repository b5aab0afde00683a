"""Whether a word that OCR reads with confidence p is right p of the time, and the curve that makes it so.

    python -m benchmarks.ocr_confidence [--pages 12] [--keep FILE]

Drawn receipts in five languages as poor photos of three sizes; their words are known. A word is right if the page has
it, letters and digits, as often as it was read; words without either are left out. The curve is logistic over the log
odds of what OCR says; its error is measured on pages that the fit did not see (five folds). `--keep` writes the words
down (JSON lines) and, where the file exists, reads them from it.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize  # type: ignore[import-untyped]

from benchmarks.read_photos import hard_photo, plain
from receipt_trainer.extraction.confidence import logit
from receipt_trainer.inference.ocr import OFFSET, SLOPE, Ocr, spans

SIZES = (1.0, 0.75, 0.55)
FOLDS = 5
BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.01)

Floats = NDArray[np.float64]


def read_words(pages: int, seed: int) -> list[dict[str, float | int]]:
    """Each word read: its page, its characters' product, and whether the page has it."""
    ocr = Ocr()
    found: list[dict[str, float | int]] = []
    for size in SIZES:
        for index in range(pages):
            image, receipt = hard_photo(seed, index, 0.0, size)
            texts = [word.text for word in receipt.words]
            gold = Counter(filter(None, (plain(text[a:b]) for text in texts for a, b in spans(text))))
            for word in ocr.read(image).words:
                text = plain(word.text)
                if text:
                    right = gold[text] > 0
                    gold[text] -= right
                    given = {
                        "page": seed * 10_000 + len(SIZES) * index + SIZES.index(size),
                        "said": word.confidence or 0.0,
                    }
                    found.append({**given, "right": int(right), "number": int(any(map(str.isdigit, text)))})
    return found


def fit(said: Floats, right: Floats) -> tuple[float, float]:
    """Slope and offset of the curve under which the words are likeliest."""
    odds = np.array([logit(value) for value in said])

    def loss(line: Floats) -> float:
        raised = line[0] * odds + line[1]
        return float(np.mean(np.logaddexp(0, -raised) * right + np.logaddexp(0, raised) * (1 - right)))

    slope, offset = minimize(loss, [1.0, 0.0]).x
    return float(slope), float(offset)


def raised(said: Floats, line: tuple[float, float]) -> Floats:
    """The curve at each."""
    odds = np.array([logit(value) for value in said])
    return np.asarray(1 / (1 + np.exp(-(line[0] * odds + line[1]))))


def error(said: Floats, right: Floats) -> float:
    """Expected calibration error over ten groups of equal size."""
    groups = np.array_split(np.argsort(said, kind="stable"), 10)
    return sum(len(group) * abs(said[group].mean() - right[group].mean()) for group in groups) / len(said)


def table(said: Floats, right: Floats, fitted: Floats) -> Table:
    """How often words are right, by what OCR said of them."""
    shown = Table("OCR says", "words", "mean", "right", "fitted")
    for low, high in pairwise(BINS):
        inside = (said >= low) & (said < high)
        if inside.any():
            means = (f"{values[inside].mean():.3f}" for values in (said, right, fitted))
            shown.add_row(f"{low:g} to {min(high, 1):g}", str(int(inside.sum())), *means)
    return shown


def report(words: Sequence[dict[str, float | int]], console: Console) -> None:
    """Print the table, the curve, and errors without and with it."""
    page, said, right = (np.array([float(word[key]) for word in words]) for key in ("page", "said", "right"))
    unseen = np.zeros_like(said)
    for fold in range(FOLDS):
        out = page % FOLDS == fold
        unseen[out] = raised(said[out], fit(said[~out], right[~out]))
    slope, offset = fit(said, right)
    whole = slope * SLOPE, slope * OFFSET + offset
    console.print(table(said, right, unseen))
    console.print(
        f"{len(words)} words, {right.mean():.3f} right; SLOPE, OFFSET would be {whole[0]:.3f}, {whole[1]:.3f}"
    )
    characters = raised(said, (1 / SLOPE, -OFFSET / SLOPE))
    for name, values in (("product of characters", characters), ("as OCR says", said), ("fitted, other pages", unseen)):
        console.print(f"{name}: error {error(values, right):.4f}, Brier {np.mean((values - right) ** 2):.4f}")


def main() -> None:
    """Read, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=12, help="of each size")
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    if arguments.keep is not None and arguments.keep.exists():
        words = [json.loads(line) for line in arguments.keep.read_text().splitlines()]
    else:
        words = read_words(arguments.pages, arguments.seed)
        if arguments.keep is not None:
            arguments.keep.write_text("".join(json.dumps(word) + "\n" for word in words))
    console = Console(width=120)
    report(words, console)
    console.print("of them with digits:")
    report([word for word in words if word["number"]], console)


if __name__ == "__main__":
    main()
