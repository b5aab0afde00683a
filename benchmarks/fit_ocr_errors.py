"""What the reader gets wrong on drawn photos: the counts behind `data/ocr_errors.py`.

    python -m benchmarks.fit_ocr_errors [--pages 60] [--seed 21] [--size 0.55]

Each drawn page is photographed badly, read, and its text compared with what is printed, letter by letter (Levenshtein,
in reading order). Gaps of more than six letters are order or loss, and counted apart. Prints rates for each letter, and
the confusions.
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import zip_longest

from rapidfuzz.distance import Levenshtein

from benchmarks.read_photos import hard_photo
from receipt_trainer.inference.ocr import Ocr

LONGEST = 6


def main() -> None:
    """Read, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--size", type=float, default=0.55, help="of the photos; smaller ones are harder to read")
    arguments = parser.parse_args()
    ocr = Ocr()
    letters: Counter[str] = Counter()
    confused: Counter[tuple[str, str]] = Counter()
    lost: Counter[str] = Counter()
    gained: Counter[str] = Counter()
    apart = 0
    for index in range(arguments.pages):
        image, receipt = hard_photo(arguments.seed, index, 0.0, arguments.size)
        printed = " ".join(word.text for word in receipt.words)
        read = " ".join(word.text for word in ocr.read(image).words)
        letters.update(printed)
        for step in Levenshtein.opcodes(printed, read):
            one, other = printed[step.src_start : step.src_end], read[step.dest_start : step.dest_end]
            if step.tag == "equal":
                continue
            if max(len(one), len(other)) > LONGEST:
                apart += max(len(one), len(other))
                continue
            for old, new in zip_longest(one, other, fillvalue=""):
                if old and new:
                    confused[old, new] += 1
                elif old:
                    lost[old] += 1
                else:
                    gained[new] += 1
    total = letters.total()
    spaces = letters[" "]
    inside = total - spaces
    print(f"{arguments.pages} pages, {total} letters, {spaces} spaces; apart {apart / total:.4f}")
    print(f"confused {sum(confused.values()) / inside:.5f} of letters")
    print(f"lost {(lost.total() - lost[' ']) / inside:.5f}, gained {(gained.total() - gained[' ']) / inside:.5f}")
    print(f"spaces lost {lost[' '] / spaces:.4f} of spaces; spaces gained {gained[' '] / inside:.5f} of letters")
    for (old, new), count in confused.most_common(60):
        print(f"{old!r} -> {new!r}: {count} of {letters[old]}")
    print("lost", lost.most_common(20))
    print("gained", gained.most_common(20))


if __name__ == "__main__":
    main()
