"""The child that draws a PDF: the document on stdin, answers on stdout.

Arguments are the CPU seconds of a page, the bytes of memory, and the numbers of the pages, none for all.
Answers are lines of JSON: first {"pages"}, then for each page {"width", "height"} and its pixels in RGB; or {"error"};
or {"missing"}, the name of a module that is not installed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

DPI: Final = 200
"""Text of 8 points is then 22 pixels high, which the recogniser reads well."""
_POINTS_PER_INCH: Final = 72
_MAX_PIXELS: Final = 6_000_000
_MIN_SIDE: Final = 1000
"""Of the longer side: a small page may be a scan whose size nobody has set."""
_MAX_SCALE: Final = 8.0


def scale_of(width: float, height: float) -> float:
    """Pixels a point for a page of this many points: `DPI`, within bounds of what is worth reading."""
    scale = max(DPI / _POINTS_PER_INCH, min(_MIN_SIDE / max(width, height), _MAX_SCALE))
    return min(scale, math.sqrt(_MAX_PIXELS / (width * height)))


def main() -> None:
    """Draw the pages; never fails, but for being killed."""
    out = sys.stdout.buffer

    def say(**answer: object) -> None:
        out.write(json.dumps(answer).encode() + b"\n")
        out.flush()

    try:
        seconds, memory, *numbers = map(int, sys.argv[1:])
        _draw(sys.stdin.buffer.read(), numbers, lambda: _limit(seconds, memory), say, out)
    except ModuleNotFoundError as error:
        say(missing=error.name)
    except MemoryError:
        say(error="not a readable PDF: drawing it takes too much memory")
    except BrokenPipeError:
        pass
    except Exception as error:
        said = " ".join(str(error).split())
        locked = "password" in said.lower()
        say(error="locked by a password: unlock it first" if locked else f"not a readable PDF: {said[:120]}")


def _draw(data: bytes, numbers: list[int], limit: Callable[[], None], say: Callable[..., None], out: Any) -> None:
    import pypdfium2

    limit()
    document = pypdfium2.PdfDocument(data)
    say(pages=len(document))
    for number in numbers or range(1, len(document) + 1):
        limit()
        page = document[number - 1]
        width, height = page.get_size()
        if not (width > 0 and height > 0):
            raise ValueError(f"page {number} has no size")
        bitmap = page.render(scale=scale_of(width, height), rev_byteorder=True, may_draw_forms=True)
        image = bitmap.to_pil().convert("RGB")
        say(width=image.width, height=image.height)
        out.write(image.tobytes())
        out.flush()
        page.close()


def _limit(seconds: int, memory: int) -> None:
    """Give so many seconds more, where the system knows such bounds."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(used.ru_utime + used.ru_stime) + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    main()
