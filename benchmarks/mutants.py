"""Damaged images, TIFFs and PDFs: every one must be refused in one line, or read, and none may crash or hang.

    python -m benchmarks.mutants [--count 2000] [--seed 0] [--ocr]

Each is a sound file of a kind, cut off, with bytes changed, removed, repeated or put in from elsewhere. `--ocr` also
reads the words of those that open. Prints counts, the slowest, and whatever went wrong.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections import Counter
from collections.abc import Iterator
from random import Random

from PIL import Image, ImageDraw

from receipt_trainer.errors import UserError
from receipt_trainer.inference.ocr import Ocr
from receipt_trainer.pages.documents import open_pages

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "TIFF-pages", "TIFF-lzw", "BMP", "GIF", "AVIF", "PPM", "PDF")


def sound(kind: str) -> bytes:
    """A file of a kind, with a little text on it."""
    image = Image.new("RGB", (200, 120), "white")
    ImageDraw.Draw(image).text((20, 40), "TOTAL 12.50", fill="black")
    stream = io.BytesIO()
    if kind == "TIFF-pages":
        image.save(stream, "TIFF", save_all=True, append_images=[image, image])
    elif kind == "TIFF-lzw":
        image.save(stream, "TIFF", compression="tiff_lzw")
    else:
        image.save(stream, kind)
    return stream.getvalue()


def mutants(count: int, seed: int, kinds: tuple[str, ...] = FORMATS) -> Iterator[tuple[str, bytes]]:
    """`count` damaged files, each with its kind; number i depends on `seed` and i alone."""
    whole = {kind: sound(kind) for kind in kinds}
    for index in range(count):
        rng = Random(f"{seed}:{index}")
        kind = kinds[index % len(kinds)]
        yield kind, _damaged(whole[kind], whole[rng.choice(kinds)], rng)


def _damaged(content: bytes, other: bytes, rng: Random) -> bytes:
    data = bytearray(content)
    # Headers and tables are at the ends, and most of what matters stands there.
    top = min(len(data), rng.choice((32, 256, 2048, len(data))))
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(top) if rng.random() < 0.8 else max(0, len(data) - 1 - rng.randrange(min(top, len(data))))
        place = min(place, len(data) - 1)
        match rng.randrange(7):
            case 0:
                data[place] = rng.randrange(256)
            case 1:
                data[place] ^= 1 << rng.randrange(8)
            case 2:
                data[place : place + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"9999"))
            case 3:
                del data[place : place + rng.randrange(1, 64)]
            case 4:
                data[place:place] = data[place : place + rng.randrange(1, 64)]
            case 5:
                start = rng.randrange(len(other))
                data[place:place] = other[start : start + rng.randrange(1, 64)]
            case _:
                if rng.random() < 0.3:
                    del data[place:]
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


def outcome(content: bytes, ocr: Ocr | None = None) -> str:
    """ "read" or "refused" as it must be, else what is wrong."""
    try:
        for page in open_pages(content, name="mutant"):
            if page.image.mode != "RGB" or min(page.image.size) < 1:
                return f"a page of mode {page.image.mode} and size {page.image.size}"
            if ocr is not None:
                ocr.read(page.image)
    except UserError as error:
        said = str(error)
        return "refused" if said.startswith("mutant: ") and "\n" not in said else f"a message {said!r}"
    except Exception as error:  # whatever else comes out is a fault of ours
        return f"{type(error).__name__}: {error}"
    return "read"


def main() -> int:
    """Open all and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ocr", action="store_true")
    arguments = parser.parse_args()
    ocr = Ocr() if arguments.ocr else None
    counts: Counter[tuple[str, str]] = Counter()
    slowest, wrong = (0.0, ""), 0
    for number, (kind, content) in enumerate(mutants(arguments.count, arguments.seed)):
        start = time.process_time()
        found = outcome(content, ocr)
        slowest = max(slowest, (time.process_time() - start, f"{kind} {number}"))
        counts[kind, found if found in ("read", "refused") else "wrong"] += 1
        if found not in ("read", "refused"):
            wrong += 1
            print(f"{kind} {number}: {found[:200]}")
    for kind in FORMATS:
        print(f"{kind:11}", *(f"{what} {counts[kind, what]:4}" for what in ("read", "refused", "wrong")))
    print(f"{arguments.count} opened, {wrong} wrong; slowest {slowest[0]:.2f} CPU s ({slowest[1]})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
