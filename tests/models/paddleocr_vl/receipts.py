"""Small receipts drawn as images, with the JSON that they say, as a data set on disk."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from receipt_trainer.data.document import canonical_json

_VENDORS = ("Acme", "Bob", "Zeta")
_GOODS = ("tea", "egg", "oil")


def document(draw: random.Random, *, num_items: int = 1) -> dict[str, Any]:
    """A receipt in the canonical form that adds up."""
    items: list[dict[str, Any]] = []
    for _ in range(num_items):
        quantity, price = draw.randint(1, 9), draw.randint(1, 9)
        item = {"description": draw.choice(_GOODS), "quantity": quantity, "unit_price": price}
        items.append({**item, "total": quantity * price})
    total = sum(item["total"] for item in items)
    return {
        "document_type": "receipt",
        "vendor": {"name": draw.choice(_VENDORS), "address": None, "tax_id": None, "phone": None},
        "client": None,
        "invoice_number": None,
        "date": f"2025-0{draw.randint(1, 9)}-{draw.randint(10, 28)}",
        "due_date": None,
        "currency": draw.choice(("EUR", "USD")),
        "line_items": items,
        "subtotal": total,
        "tax": None,
        "tax_rate": None,
        "discount": None,
        "grand_total": total,
    }


def draw_page(content: dict[str, Any], draw: random.Random) -> Image.Image:
    """The receipt as an image of 112 x 112 pixels, on paper of a colour of its own."""
    page = Image.new("RGB", (112, 112), tuple(draw.randint(120, 255) for _ in range(3)))
    pen = ImageDraw.Draw(page)
    lines = [content["vendor"]["name"], content["date"]]
    lines += [f"{item['quantity']} {item['description']} {item['total']}" for item in content["line_items"]]
    lines += [f"{content['currency']} {content['grand_total']}"]
    for row, line in enumerate(lines):
        pen.text((4 + draw.randint(0, 30), 4 + 18 * row), line, fill="black", font_size=14)
    return page


def write_receipts(folder: Path, count: int, seed: int = 0, *, name: str = "train", num_items: int = 1) -> Path:
    """Write `count` receipts; returns the JSON lines file."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    lines = []
    for number in range(count):
        content = document(draw, num_items=num_items)
        image = f"{name}-{number}.png"
        draw_page(content, draw).save(folder / image)
        record = {"id": f"{name}-{number}", "image": image, "instruction": "Read.", "input": ""}
        lines.append(json.dumps(record | {"output": canonical_json(content)}))
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
