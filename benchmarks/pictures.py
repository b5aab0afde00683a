"""The pictures of README and docs/, each made again by one command.

receipt-trainer read docs/receipt.jpg --model RUN > answer.json
python -m benchmarks.pictures reading docs/receipt.jpg answer.json docs/reading.png
python -m benchmarks.pictures page RUN docs/receipt.jpg docs/page.jpg
python -m benchmarks.pictures report RUN docs/report.png docs/report-dark.png
python -m benchmarks.pictures watch docs/watch.svg

RUN is the folder that `make demo` leaves. `watch` asks the session of a `make demo` that trains meanwhile in another
terminal. `page` and `report` need Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from receipt_trainer.serving.app import create_app
from receipt_trainer.serving.corrections import FileCorrections
from receipt_trainer.serving.holder import Holder
from tests.serving.browser import PATIENCE_MS, chromium, opened, served

COLUMNS = 96
HEIGHT = 720
WIDE = 520
SHADE = {
    "MERCHANT_NAME": "#7048e8",
    "ADDRESS_LINE": "#1c7ed6",
    "PHONE_NUMBER": "#0ca678",
    "DATE": "#e8590c",
    "TIME": "#f08c00",
    "PRODUCT_NAME": "#495057",
    "QUANTITY": "#5f3dc4",
    "UNIT_PRICE": "#2b8a3e",
    "LINE_TOTAL": "#087f5b",
    "SUBTOTAL": "#a61e4d",
    "TAX": "#d6336c",
    "GRAND_TOTAL": "#e03131",
}


def main() -> None:
    """Write one picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pictures: dict[str, Callable[..., None]] = {"reading": reading, "page": page, "report": report, "watch": watch}
    parser.add_argument("picture", choices=pictures)
    parser.add_argument("paths", type=Path, nargs="+")
    args = parser.parse_args()
    pictures[args.picture](*args.paths)


def reading(image: Path, answer_file: Path, output: Path) -> None:
    """A receipt with the words that were read framed by label, and the fields beside it."""
    answer = json.loads(answer_file.read_text(encoding="utf-8"))
    photo = Image.open(image).convert("RGB")
    scale = HEIGHT / photo.height
    photo = photo.resize((round(photo.width * scale), HEIGHT), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (photo.width + WIDE, HEIGHT), "white")
    canvas.paste(photo, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for word in answer["words"]:
        if word["label"] in SHADE:
            x0, y0, x1, y1 = (scale * edge for edge in word["box"])
            draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=SHADE[word["label"]], width=2)
    _write(draw, answer, photo.width + 24)
    _save(canvas, output)


def _write(draw: ImageDraw.ImageDraw, answer: dict[str, Any], left: int) -> None:
    large, plain = ImageFont.load_default(19), ImageFont.load_default(15)
    y = 24
    summary = answer["summary"]
    rows = [("MERCHANT_NAME", "merchant"), ("DATE", "date"), ("GRAND_TOTAL", "total"), ("SUBTOTAL", "subtotal")]
    for label, key in [*rows, ("TAX", "tax")]:
        draw.text((left, y), key, fill=SHADE[label], font=plain)
        currency = f" {summary['currency']}" if key in ("total", "subtotal", "tax") and summary["currency"] else ""
        draw.text((left + 100, y - 2), f"{summary[key]}{currency}" if summary[key] else "-", fill="black", font=large)
        y += 34
    for label, key in (("ADDRESS_LINE", "address"), ("PHONE_NUMBER", "phone"), ("TIME", "time")):
        for find in answer["fields"].get(label, ())[:1]:
            draw.text((left, y), key, fill=SHADE[label], font=plain)
            draw.text((left + 100, y), str(find["value"])[:52], fill="black", font=plain)
            y += 28
    y += 14
    for item in answer["items"]:
        x = left
        for name, label, wide in (
            ("quantity", "QUANTITY", 50),
            ("description", "PRODUCT_NAME", 270),
            ("unit_price", "UNIT_PRICE", 85),
            ("total", "LINE_TOTAL", 85),
        ):
            value = (item[name] or {}).get("value")
            text = value["amount"] if isinstance(value, dict) else value or ""
            draw.text((x, y), text[:34], fill=SHADE[label], font=plain)
            x += wide
        y += 24
    y += 14
    for name, holds in answer["checks"].items():
        if holds is not None:
            draw.text((left, y), f"{name}: {'yes' if holds else 'no'}", fill="#495057", font=plain)
            y += 24


def page(run: Path, photo: Path, output: Path) -> None:
    """The page of corrections with a photo that was read, and the words of its merchant selected."""
    app = create_app(Holder.fixed(run), corrections=FileCorrections(Path(tempfile.mkdtemp()) / "corrections.jsonl"))
    with (
        served(app) as url,
        chromium() as browser,
        opened(browser, url, viewport={"width": 1280, "height": 800}) as shown,
    ):
        shown.set_input_files("#file", photo)
        shown.wait_for_selector("#panel:visible", timeout=PATIENCE_MS)
        shown.wait_for_function("() => document.querySelector('#sheets img').naturalWidth > 0")
        shown.locator("#fields .row").first.click()
        shown.screenshot(path=output, type="jpeg", quality=85)


def report(run: Path, light: Path, dark: Path) -> None:
    """The first screen of a run's report, in both colour schemes."""
    with chromium() as browser:
        for scheme, output in (("light", light), ("dark", dark)):
            url = (run / "report.html").absolute().as_uri()
            screen = {"width": 1180, "height": 690}
            with opened(browser, url, viewport=screen, color_scheme=scheme, device_scale_factor=1.2) as shown:
                _save(Image.open(BytesIO(shown.screenshot())), output)


def watch(output: Path) -> None:
    """What `receipt-trainer watch` shows of the job that trains in the local session."""
    words = [str(Path(sys.executable).with_name("receipt-trainer")), "watch", "--stack", "local", "--once"]
    environ = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
    said = subprocess.run(words, env=environ, capture_output=True, text=True, check=True).stdout
    console = Console(record=True, width=COLUMNS, file=StringIO())
    console.print(Text.from_ansi(said.rstrip()), no_wrap=True)
    console.save_svg(str(output), title="receipt-trainer watch --stack local", theme=DIMMED_MONOKAI)


def _save(picture: Image.Image, output: Path) -> None:
    """With 96 colours: a fifth of the bytes."""
    picture.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(output, optimize=True)


if __name__ == "__main__":
    main()
