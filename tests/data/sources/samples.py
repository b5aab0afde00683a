"""One small receipt as each program writes it; a second page where the format has pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

WIDTH, HEIGHT = 400, 800

LINES: Final = (
    (("CORNER", (100, 40, 180, 60)), ("SHOP", (190, 40, 250, 60))),
    (("TEA", (40, 200, 80, 220)), ("2.50", (300, 200, 360, 220))),
    (("TOTAL", (40, 300, 110, 320)), ("2.50", (300, 300, 360, 320))),
)
WORDS: Final = tuple(word for line in LINES for word in line)
TEXTS: Final = [text for text, _ in WORDS]
BOXES: Final = [box for _, box in WORDS]
LABELS: Final = ["MERCHANT_NAME", "MERCHANT_NAME", "PRODUCT_NAME", "LINE_TOTAL", None, "GRAND_TOTAL"]


def _hull(boxes: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)


def quad(box: tuple[int, int, int, int]) -> list[list[int]]:
    """The corners of a box, clockwise from the top left."""
    x0, y0, x1, y1 = box
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def _flat(box: tuple[int, int, int, int], scale: float = 1.0) -> list[float]:
    return [value * scale for point in quad(box) for value in point]


def _geometry(box: tuple[int, int, int, int]) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    polygon = [{"X": x / WIDTH, "Y": y / HEIGHT} for x, y in quad(box)]
    sides = {"Left": x0 / WIDTH, "Top": y0 / HEIGHT, "Width": (x1 - x0) / WIDTH, "Height": (y1 - y0) / HEIGHT}
    return {"BoundingBox": sides, "Polygon": polygon}


def textract_blocks(page: int | None = None) -> list[dict[str, Any]]:
    """Blocks of a page; without `page`, as for a single image."""
    more = {} if page is None else {"Page": page}
    blocks: list[dict[str, Any]] = [
        {"BlockType": "PAGE", "Id": "p", "Geometry": _geometry((0, 0, WIDTH, HEIGHT))} | more
    ]
    for n, line in enumerate(LINES):
        text = " ".join(text for text, _ in line)
        box = _hull([box for _, box in line])
        blocks.append(
            {"BlockType": "LINE", "Id": f"l{n}", "Text": text, "Confidence": 99.0, "Geometry": _geometry(box)} | more
        )
    for n, (text, box) in enumerate(WORDS):
        word = {"BlockType": "WORD", "Id": f"w{n}", "Text": text, "Confidence": 97.5, "TextType": "PRINTED"}
        blocks.append(word | {"Geometry": _geometry(box)} | more)
    return blocks


def textract(pages: int = 1) -> dict[str, Any]:
    """An answer of DetectDocumentText."""
    blocks = [b for n in range(1, pages + 1) for b in textract_blocks(n if pages > 1 else None)]
    return {"DocumentMetadata": {"Pages": pages}, "Blocks": blocks, "DetectDocumentTextModelVersion": "1.0"}


def _expense_field(
    kind: str, text: str, box: tuple[int, int, int, int], parties: tuple[str, ...] = ()
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "Type": {"Text": kind, "Confidence": 98.0},
        "ValueDetection": {"Text": text, "Geometry": _geometry(box), "Confidence": 98.0},
        "PageNumber": 1,
    }
    return found | ({"GroupProperties": [{"Types": list(parties), "Id": "g"}]} if parties else {})


def textract_expense(*, blocks: bool = True) -> dict[str, Any]:
    """An answer of AnalyzeExpense, with the words along or, as older ones, without."""
    name = _hull(BOXES[:2])
    summary = [
        _expense_field("VENDOR_NAME", "CORNER SHOP", name),
        _expense_field("NAME", "CORNER SHOP", name, ("VENDOR", "VENDOR_REMIT_TO")),
        _expense_field("TOTAL", "2.50", BOXES[5])
        | {"LabelDetection": {"Text": "TOTAL", "Geometry": _geometry(BOXES[4])}},
    ]
    row = [
        _expense_field("ITEM", "TEA", BOXES[2]),
        _expense_field("PRICE", "2.50", BOXES[3]),
        _expense_field("EXPENSE_ROW", "TEA 2.50", _hull(BOXES[2:4])),
    ]
    document: dict[str, Any] = {
        "ExpenseIndex": 1,
        "SummaryFields": summary,
        "LineItemGroups": [{"LineItemGroupIndex": 1, "LineItems": [{"LineItemExpenseFields": row}]}],
    }
    return {
        "DocumentMetadata": {"Pages": 1},
        "ExpenseDocuments": [document | ({"Blocks": textract_blocks()} if blocks else {})],
    }


def tesseract_tsv(pages: int = 1) -> str:
    """The columns of Tesseract's TSV, as version 5 writes them."""
    names = ("level", "page_num", "block_num", "par_num", "line_num", "word_num", "left", "top", "width", "height")
    rows = ["\t".join((*names, "conf", "text"))]
    for page in range(1, pages + 1):
        rows.append(f"1\t{page}\t0\t0\t0\t0\t0\t0\t{WIDTH}\t{HEIGHT}\t-1\t")
        for n, line in enumerate(LINES, start=1):
            for m, (text, (x0, y0, x1, y1)) in enumerate(line, start=1):
                rows.append(f"5\t{page}\t1\t1\t{n}\t{m}\t{x0}\t{y0}\t{x1 - x0}\t{y1 - y0}\t96.1\t{text}")
        rows.append(f"5\t{page}\t2\t1\t1\t1\t0\t0\t{WIDTH}\t5\t95.0\t ")
    return "\n".join(rows) + "\n"


def hocr(pages: int = 1) -> str:
    """hOCR as Tesseract 5 writes it."""
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<html>',
        '<head><meta name="ocr-system" content="tesseract 5.3.0" /></head>',
    ]
    for page in range(pages):
        parts.append(
            f"<div class='ocr_page' id='p{page}' title='image \"a.png\"; bbox 0 0 {WIDTH} {HEIGHT}; ppageno {page}'>"
        )
        for line in LINES:
            x0, y0, x1, y1 = _hull([box for _, box in line])
            parts.append(f"<span class='ocr_line' title=\"bbox {x0} {y0} {x1} {y1}; baseline 0 -5; x_size 20\">")
            for text, box in line:
                title = f"bbox {' '.join(map(str, box))}; x_wconf 96"
                parts.append(f"<span class='ocrx_word' title='{title}'><strong>{text}</strong></span>")
            parts.append("</span>")
        parts.append("</div>")
    return "\n".join([*parts, "</html>"])


def vision(pages: int = 1) -> dict[str, Any]:
    """An answer of images:annotate for each page; `2.50` is three words without a break between."""

    def word(text: str, box: tuple[float, float, float, float], gap: str) -> dict[str, Any]:
        x0, y0, x1, y1 = box
        symbols: list[dict[str, Any]] = [{"text": char, "confidence": 0.9} for char in text]
        if gap:
            symbols[-1]["property"] = {"detectedBreak": {"type": gap}}
        vertices = [{"x": x, "y": y} for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
        return {"boundingBox": {"vertices": vertices}, "symbols": symbols, "confidence": 0.9}

    answers = []
    for _ in range(pages):
        words = []
        for line in LINES:
            for n, (text, (x0, y0, x1, y1)) in enumerate(line):
                gap = "SPACE" if n < len(line) - 1 else "LINE_BREAK"
                if "." in text:
                    step = (x1 - x0) // 3
                    words.append(word("2", (x0, y0, x0 + step, y1), ""))
                    words.append(word(".", (x0 + step, y0, x0 + 2 * step, y1), ""))
                    words.append(word("50", (x0 + 2 * step, y0, x1, y1), gap))
                else:
                    words.append(word(text, (x0, y0, x1, y1), gap))
        page = {"width": WIDTH, "height": HEIGHT, "blocks": [{"paragraphs": [{"words": words}]}]}
        answers.append({"fullTextAnnotation": {"pages": [page], "text": " ".join(TEXTS)}})
    return {"responses": answers}


def azure(*, unit: str = "pixel", pages: int = 1) -> dict[str, Any]:
    """An answer of Document Intelligence's prebuilt-receipt."""
    scale = 1 / 200 if unit == "inch" else 1.0
    given, offset, spans = [], 0, []
    for page in range(1, pages + 1):
        words = []
        for text, box in WORDS:
            span = {"offset": offset, "length": len(text)}
            words.append({"content": text, "polygon": _flat(box, scale), "confidence": 0.97, "span": span})
            if page == 1:
                spans.append(span)
            offset += len(text) + 1
        size = {"width": WIDTH * scale, "height": HEIGHT * scale, "unit": unit}
        given.append({"pageNumber": page, "angle": 0.1, **size, "words": words, "lines": [], "spans": []})

    def field(first: int, last: int) -> dict[str, Any]:
        start, end = spans[first], spans[last]
        span = {"offset": start["offset"], "length": end["offset"] + end["length"] - start["offset"]}
        region = {"pageNumber": 1, "polygon": _flat(_hull(BOXES[first : last + 1]), scale)}
        return {"type": "string", "content": "x", "boundingRegions": [region], "spans": [span], "confidence": 0.9}

    item = {"type": "object", "valueObject": {"Description": field(2, 2), "TotalPrice": field(3, 3)}}
    fields = {"MerchantName": field(0, 1), "Total": field(5, 5), "Items": {"type": "array", "valueArray": [item]}}
    documents = [{"docType": "receipt.retailMeal", "fields": fields, "confidence": 0.9, "spans": []}]
    result = {"apiVersion": "2024-11-30", "modelId": "prebuilt-receipt", "stringIndexType": "textElements"}
    return {"status": "succeeded", "analyzeResult": {**result, "content": "", "pages": given, "documents": documents}}


def azure_read(version: str = "3.2") -> dict[str, Any]:
    """An answer of the Read API: 3.x in inches, 2.0 in pixels."""
    scale, unit = (1 / 200, "inch") if version == "3.2" else (1.0, "pixel")
    lines = [
        {
            "boundingBox": _flat(_hull([box for _, box in line]), scale),
            "text": " ".join(text for text, _ in line),
            "words": [{"boundingBox": _flat(box, scale), "text": text, "confidence": 0.95} for text, box in line],
        }
        for line in LINES
    ]
    page = {"page": 1, "width": WIDTH * scale, "height": HEIGHT * scale, "unit": unit, "lines": lines}
    if version == "3.2":
        return {"status": "succeeded", "analyzeResult": {"version": "3.2.0", "readResults": [page | {"angle": 0.3}]}}
    return {"status": "Succeeded", "recognitionResults": [page | {"clockwiseOrientation": 0.3}]}


def azure_image() -> dict[str, Any]:
    """An answer of Image Analysis 4.0; boxes are objects with x and y."""

    def polygon(box: tuple[int, int, int, int]) -> list[dict[str, int]]:
        return [{"x": x, "y": y} for x, y in quad(box)]

    lines: list[dict[str, Any]] = [
        {
            "text": " ".join(text for text, _ in line),
            "boundingPolygon": polygon(_hull([box for _, box in line])),
            "words": [{"text": text, "boundingPolygon": polygon(box), "confidence": 0.95} for text, box in line],
        }
        for line in LINES
    ]
    size = {"width": WIDTH, "height": HEIGHT}
    return {"modelVersion": "2023-10-01", "metadata": size, "readResult": {"blocks": [{"lines": lines}]}}


def label_txt() -> str:
    """A line of PPOCRLabel's Label.txt; the boxes are lines of text."""
    boxes = [
        {"transcription": text, "points": quad(box), "difficult": False, "key_cls": label or "None"}
        for (text, box), label in zip(
            WORDS, ("company", "company", "Prod_item_value", "Prod_price_value", "None", "total"), strict=True
        )
    ]
    return f"photos/a.png\t{json.dumps(boxes)}\n"


def paddle_lists() -> list[Any]:
    """What PaddleOCR 2 returns of one image, as JSON."""
    return [[[quad(box), [text, 0.98]] for text, box in WORDS]]


def paddlex() -> dict[str, Any]:
    """What PaddleOCR 3 saves of one image."""
    polygons = [quad(box) for box in BOXES]
    return {
        "input_path": "photos/a.png",
        "page_index": None,
        "dt_polys": polygons,
        "rec_texts": TEXTS,
        "rec_scores": [0.98] * len(TEXTS),
        "rec_polys": polygons,
        "rec_boxes": [list(box) for box in BOXES],
    }


def doctr(pages: int = 1) -> dict[str, Any]:
    """`Document.export()` of docTR 1.1."""

    def geometry(box: tuple[int, int, int, int]) -> list[list[float]]:
        return [[box[0] / WIDTH, box[1] / HEIGHT], [box[2] / WIDTH, box[3] / HEIGHT]]

    lines = [
        {
            "geometry": geometry(_hull([box for _, box in line])),
            "objectness_score": 0.9,
            "words": [
                {
                    "value": text,
                    "confidence": 0.9,
                    "geometry": geometry(box),
                    "objectness_score": 0.9,
                    "crop_orientation": {"value": 0, "confidence": None},
                }
                for text, box in line
            ],
        }
        for line in LINES
    ]
    page = {
        "dimensions": [HEIGHT, WIDTH],
        "orientation": {"value": None, "confidence": None},
        "language": {"value": None, "confidence": None},
        "blocks": [{"geometry": [[0, 0], [1, 1]], "objectness_score": 0.9, "lines": lines, "artefacts": []}],
    }
    return {"pages": [{"page_idx": n, **page} for n in range(pages)]}


def label_studio(key: str = "annotations") -> list[dict[str, Any]]:
    """A task of a project of one's own, with a region for each word; as people or as a model left it."""
    result = []
    for n, ((text, (x0, y0, x1, y1)), label) in enumerate(zip(WORDS, LABELS, strict=True)):
        box = {
            **{"x": 100 * x0 / WIDTH, "y": 100 * y0 / HEIGHT, "rotation": 0},
            **{"width": 100 * (x1 - x0) / WIDTH, "height": 100 * (y1 - y0) / HEIGHT},
        }
        common = {
            "id": f"r{n}",
            "to_name": "image",
            "original_width": WIDTH,
            "original_height": HEIGHT,
            "image_rotation": 0,
        }
        if label:
            value = box | {"rectanglelabels": [label]}
            result.append(common | {"from_name": "label", "type": "rectanglelabels", "value": value})
        else:
            result.append(common | {"from_name": "bbox", "type": "rectangle", "value": box})
        result.append(common | {"from_name": "transcription", "type": "textarea", "value": box | {"text": [text]}})
    whose = {"model_version": "reader-3"} if key == "predictions" else {"completed_by": 1, "was_cancelled": False}
    task = {"id": 7, "data": {"ocr": "/data/upload/1/ab12-a.png"}, "annotations": [], "predictions": []}
    return [task | {key: [whose | {"id": 1, "result": result}]}]


def funsd() -> dict[str, Any]:
    """A form of FUNSD; its boxes are pixels."""

    def entity(n: int, label: str, words: tuple[Any, ...]) -> dict[str, Any]:
        inner = [{"text": text, "box": list(box)} for text, box in words]
        text = " ".join(text for text, _ in words)
        return {
            "id": n,
            "text": text,
            "box": list(_hull([b for _, b in words])),
            "label": label,
            "linking": [],
            "words": inner,
        }

    return {
        "form": [
            entity(0, "header", WORDS[:2]),
            entity(1, "other", WORDS[2:4]),
            entity(2, "question", WORDS[4:5]),
            entity(3, "answer", WORDS[5:]),
        ]
    }


def cord() -> dict[str, Any]:
    """A receipt of CORD v2."""

    def line(category: str, group: int, words: tuple[tuple[int, int], ...]) -> dict[str, Any]:
        inner = []
        for n, is_key in words:
            (text, box), row = WORDS[n], n // 2 + 2179800
            corners = {
                f"{axis}{m}": value
                for m, point in enumerate(quad(box), 1)
                for axis, value in zip("xy", point, strict=True)
            }
            inner.append({"quad": corners, "is_key": is_key, "row_id": row, "text": text})
        return {"words": inner, "category": category, "group_id": group, "sub_group_id": 0}

    return {
        "gt_parse": {"menu": {"nm": "TEA", "price": "2.50"}, "total": {"total_price": "2.50"}},
        "meta": {"version": "2.0.0", "split": "train", "image_id": 3, "image_size": {"width": WIDTH, "height": HEIGHT}},
        "valid_line": [
            line("total.total_price", 5, ((4, 1), (5, 0))),
            line("menu.nm", 3, ((2, 0),)),
            line("menu.price", 3, ((3, 0),)),
            line("void_menu.nm", 3, ((0, 0), (1, 0))),
        ],
    }


def sroie_box() -> str:
    """A file of SROIE's folder box: lines of text, the quad first."""
    rows = []
    for line in LINES:
        for part in [line] if line is LINES[0] else [line[:1], line[1:]]:
            box = _hull([box for _, box in part])
            rows.append(",".join(str(int(value)) for value in _flat(box)) + "," + " ".join(text for text, _ in part))
    return "\r\n".join(rows) + "\r\n"


SROIE_KEYS: Final = {"company": "CORNER SHOP", "date": "", "address": "", "total": "2.50"}


def columns(*, numbers: bool = False) -> dict[str, Any]:
    """A row as data sets on Hugging Face have it."""
    names = ["O", "B-GRAND_TOTAL", "B-LINE_TOTAL", "B-MERCHANT_NAME", "I-MERCHANT_NAME", "B-PRODUCT_NAME"]
    tags = ["B-MERCHANT_NAME", "I-MERCHANT_NAME", "B-PRODUCT_NAME", "B-LINE_TOTAL", "O", "B-GRAND_TOTAL"]
    boxes = [[round(1000 * v / size) for v, size in zip(box, (WIDTH, HEIGHT) * 2, strict=True)] for box in BOXES]
    return {
        "id": "a",
        "words": TEXTS,
        "bboxes": boxes,
        "ner_tags": [names.index(tag) for tag in tags] if numbers else tags,
    }


SAMPLES: Final[dict[str, tuple[str, Callable[[], Any]]]] = {
    "textract": ("a.json", textract),
    "textract-expense": ("a.json", textract_expense),
    "textract-expense-old": ("a.json", lambda: textract_expense(blocks=False)),
    "tesseract": ("a.tsv", tesseract_tsv),
    "hocr": ("a.hocr", hocr),
    "vision": ("a.json", vision),
    "azure": ("a.json", azure),
    "azure-inch": ("a.json", lambda: azure(unit="inch")),
    "azure-read": ("a.json", azure_read),
    "azure-read-2": ("a.json", lambda: azure_read("2.0")),
    "azure-image": ("a.json", azure_image),
    "paddleocr": ("Label.txt", label_txt),
    "paddleocr-lists": ("a.json", paddle_lists),
    "paddleocr-x": ("a.json", paddlex),
    "doctr": ("a.json", doctr),
    "label-studio": ("a.json", label_studio),
    "funsd": ("a.json", funsd),
    "cord": ("a.json", cord),
    "sroie": ("a.txt", sroie_box),
    "hf": ("a.jsonl", columns),
}
"""The file's name and content of each form; a format is what stands before the first hyphen, but for label-studio."""


def format_of(form: str) -> str:
    """The format that a form belongs to."""
    return form if form == "label-studio" else form.partition("-")[0]


def content(form: str) -> str:
    """The content of a form's file."""
    made = SAMPLES[form][1]()
    return made if isinstance(made, str) else json.dumps(made)
