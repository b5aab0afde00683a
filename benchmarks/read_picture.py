"""Draw a receipt with what was read of it beside: the picture in the README.

receipt-trainer read docs/receipt.jpg --model RUN > answer.json
.venv/bin/python benchmarks/read_picture.py docs/receipt.jpg answer.json docs/reading.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

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
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("answer", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    answer = json.loads(args.answer.read_text(encoding="utf-8"))
    photo = Image.open(args.image).convert("RGB")
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
    canvas.quantize(96, dither=Image.Dither.NONE).save(args.output, optimize=True)


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


if __name__ == "__main__":
    main()
