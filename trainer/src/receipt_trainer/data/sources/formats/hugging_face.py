"""Columns as data sets on Hugging Face have them: words or tokens, bboxes, ner_tags; one receipt an object, or a row of
a Parquet file.

Boxes are 0..1000 (LayoutLM's grid); or pixels, where the page's width and height stand there and that fits better.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.labels import to_bio
from receipt_trainer.data.page_words import DocumentWords, PageWord, PageWords
from receipt_trainer.data.problems import ProblemKind
from receipt_trainer.data.receipt import Receipt, WordLabel
from receipt_trainer.data.sources.clean import is_name, number, parse_review
from receipt_trainer.data.sources.formats.pages import (
    GRID,
    FileReading,
    Format,
    at,
    box_of,
    either,
    items,
    points_of,
    text_of,
)
from receipt_trainer.errors import UserError

NAMES_OF_NUMBERS: Final = " in their order by --label-names, or lay the data set's dataset_info.json beside the file"

PARQUET: Final = b"PAR1"
"""What a Parquet file begins with."""
_WORDS: Final = ("words", "tokens")
_BOXES: Final = ("bboxes", "boxes", "bbox")
_TAGS: Final = ("ner_tags", "labels", "tags")
_ID: Final = ("id", "image_path", "file_name", "image")
_EXACT: Final = "page_boxes"
"""Column of our export: boxes as parts of the page, exactly."""
_REVIEW: Final = "receipt_review"
"""Column of our export: what a person has said of the receipt as a whole."""
_MINE: Final = (*_WORDS, *_BOXES, *_TAGS, "id", "image", "extra", _EXACT, _REVIEW)
_CARRIED: Final = ("source", "split", "image_id")
_RECEIPT_KEYS: Final = (*_CARRIED, "receipt_id", "id", "width", "height", "words")
_WORD_KEYS: Final = ("text", "box", "line", "label", "labels", "confidence")
_PER_WORD: Final = {"lines": "line", "word_labels": "labels", "confidences": "confidence", "word_extras": "extra"}
"""Columns that our own export adds, one value a word, and what they are in JSON lines."""


def is_columns(value: Any) -> bool:
    """Whether it is a row, or a list of rows, with a list of texts and a list of boxes."""
    row = at(value, 0) if isinstance(value, list) else value
    words, boxes = items(either(row, *_WORDS)), either(row, *_BOXES)
    return bool(words) and isinstance(words[0], str) and isinstance(boxes, list)


def read(reading: FileReading, value: Any) -> Iterator[DocumentWords]:
    """A document a row.

    Raises:
        UserError: labels are numbers, and neither `label_names` nor a dataset_info.json beside the file names them.
    """
    rows = [row for _, each in reading.values for row in (each if isinstance(each, list) else [each])]
    in_pixels = _in_pixels(rows if reading.values else [value])
    names = reading.label_names or class_labels(reading.path)
    for n, row in enumerate(value if isinstance(value, list) else [value]):
        known = (
            text_of(at(row, "id"))
            or text_of(at(row, "image", "path"))
            or next((str(given) for key in _ID if isinstance(given := at(row, key), str | int)), "")
        )
        name = known or f"{reading.name} {n}"
        record = columns_of(row, names, in_pixels=in_pixels) if is_columns(row) else None
        if record is None:
            detail = "needs words (texts), bboxes and, if there are any, ner_tags: lists of one length"
            reading.problems.add(ProblemKind.BAD_RECORD, name, detail=detail)
            continue
        unnamed = first_number([word.get("label") for word in record["words"]])
        if unnamed is not None:
            raise UserError(f"{reading.path}: label {unnamed} is a number: say the labels' names{NAMES_OF_NUMBERS}")
        yield _document(reading, name, record)


def _document(reading: FileReading, name: str, record: dict[str, Any]) -> DocumentWords:
    words = []
    for n, word in enumerate(record["words"]):
        points = points_of(word["box"])
        if not isinstance(word["text"], str) or points is None:
            kind = ProblemKind.EMPTY_TEXT if points is not None else ProblemKind.BAD_BOX
            reading.problems.add(kind, name, f"word {n}", word["text"] if points is not None else word["box"])
            continue
        pairs = items(word.get("labels")) if word.get("labels") is not None else [[word.get("label"), "VALID"]]
        sound = [pair for pair in pairs if isinstance(pair, list) and all(isinstance(part, str) for part in pair)]
        labels = tuple(WordLabel(*pair) for pair in sound if 2 <= len(pair) <= 3 and pair[0] not in ("", OUTSIDE))
        line = word.get("line")
        words.append(
            PageWord(
                word["text"],
                box_of(points),
                line if isinstance(line, int) and not isinstance(line, bool) and abs(line) < 10**8 else None,
                number(word.get("confidence")),
                labels,
                {key: each for key, each in word.items() if key not in _WORD_KEYS},
            )
        )
    more: dict[str, Any] = {key: each for key in _CARRIED if is_name(each := record.get(key))}
    receipt_id = record.get("receipt_id")
    if isinstance(receipt_id, int) and 0 < receipt_id < 10**9:
        more["receipt_id"] = receipt_id
    page = PageWords(1, float(record["width"]), float(record["height"]), tuple(words))
    review = parse_review(record.get("review"))
    taken = (*_RECEIPT_KEYS, "review") if review else _RECEIPT_KEYS
    extra = {key: each for key, each in record.items() if key not in taken}
    return DocumentWords(name, (page,), **more, extra=extra, review=review)


def columns_of(
    row: dict[str, Any], label_names: Sequence[str] = (), *, in_pixels: bool | None = None
) -> dict[str, Any] | None:
    """The row as a record of ours, its other columns kept; None if its columns are not of one length.

    Args:
        label_names: names of the tags that are numbers; those without a name stay numbers.
        in_pixels: the unit of the boxes; by default what the row itself shows.
    """
    texts, boxes, tags = items(either(row, *_WORDS)), items(either(row, *_BOXES)), either(row, *_TAGS)
    tags = [None] * len(texts) if tags is None else tags
    if not len(texts) == len(boxes) == len(items(tags)):
        return None
    width, height = number(row.get("width")), number(row.get("height"))
    scale = (1.0, 1.0)
    if width is None or height is None or width < 1 or height < 1:
        width = height = GRID
    elif not (_in_pixels([row]) if in_pixels is None else in_pixels):
        scale = (width / GRID, height / GRID)
    columns = {key: items(row.get(column)) for column, key in _PER_WORD.items()}
    exact = items(row.get(_EXACT))
    words = []
    for n, (text, box, tag) in enumerate(zip(texts, boxes, tags, strict=True)):
        points = points_of(box)
        scaled = box if points is None else [value for x, y in points for value in (x * scale[0], y * scale[1])]
        parts = points_of(exact[n]) if len(exact) == len(texts) else None
        if parts is not None:
            x0, y0, x1, y1 = box_of(parts)
            scaled = [x0 * width, y0 * height, x1 * width, y1 * height]
        elif points is not None:
            scaled = list(box_of(points_of(scaled) or points))
        word = {"text": text, "box": scaled, "label": named(tag, label_names)}
        word |= {
            key: column[n] for key, column in columns.items() if len(column) == len(texts) and column[n] is not None
        }
        words.append(word | _carried(word.pop("extra", None)))
    kept = {key: value for key, value in row.items() if key not in _MINE and key not in _PER_WORD}
    said = {"review": row[_REVIEW]} if parse_review(row.get(_REVIEW)) else {}
    return (
        kept
        | _carried(row.get("extra"))
        | said
        | {"id": row.get("id"), "width": width, "height": height, "words": words}
    )


def parquet_rows(path: Path, content: bytes | None, most: int) -> list[tuple[str, Any]]:
    """The rows of a Parquet file with their places; columns of bytes (images), dates and the like are left out.

    Numbers of labels become the names that `datasets` writes into the file.

    Args:
        content: what stands in the file, where it is in memory only.
        most: bytes, unpacked, of the columns that are read.

    Raises:
        UserError: it cannot be read, is too large, or pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"{path}: a Parquet file: to read it, pip install './trainer[train]'") from None
    try:
        with parquet.ParquetFile(path if content is None else pa.BufferReader(content)) as file:
            columns = list(_plain_columns(file.schema_arrow, pa.types))
            groups = [file.metadata.row_group(n) for n in range(file.num_row_groups)]
            chunks = [group.column(n) for group in groups for n in range(group.num_columns)]
            wanted = [
                chunk for chunk in chunks if f"{chunk.path_in_schema}.".startswith(tuple(f"{c}." for c in columns))
            ]
            if sum(chunk.total_uncompressed_size for chunk in wanted) > most:
                raise UserError(f"{path}: more than {most // 1_000_000} MB; split it")
            names = _names_in((file.schema_arrow.metadata or {}).get(b"huggingface"))
            rows = file.read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        raise UserError(f"{path}: a Parquet file that cannot be read: {said}") from None
    for row in rows:
        for column in names.keys() & row.keys():
            row[column] = [named(tag, names[column]) for tag in items(row[column])]
    # as JSON has them: no NaN
    return [(f"row {n}", json.loads(json.dumps(row), parse_constant=lambda _: None)) for n, row in enumerate(rows)]


def _plain_columns(schema: Any, types: Any) -> Iterator[str]:
    """Columns of texts and numbers, and lists of such; of a struct (an image's bytes and path) those in it."""

    def is_plain(kind: Any) -> bool:
        if (
            types.is_dictionary(kind)
            or types.is_list(kind)
            or types.is_large_list(kind)
            or types.is_fixed_size_list(kind)
        ):
            return is_plain(kind.value_type)
        if types.is_struct(kind):
            return all(is_plain(kind.field(n).type) for n in range(kind.num_fields))
        tests = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
        return types.is_null(kind) or any(test(kind) for test in tests)

    for field in schema:
        if is_plain(field.type):
            yield field.name
        elif types.is_struct(field.type):
            inner = (field.type.field(n) for n in range(field.type.num_fields))
            yield from (f"{field.name}.{each.name}" for each in inner if is_plain(each.type))


def _names_in(metadata: bytes | None) -> dict[str, tuple[str, ...]]:
    """Names of the labels of each column of tags, as `datasets` writes them into a file's metadata."""
    try:
        features = at(json.loads(metadata or b"{}"), "info", "features")
    except (ValueError, RecursionError):
        return {}
    return {column: names for column in _TAGS if (names := _names(at(features, column)))}


def _class_number(label: Any) -> int | None:
    """The number that a label is, also as 3.0 (pandas) or "3" (CSV); None for a name."""
    if isinstance(label, str):
        return int(label) if label.isdecimal() and len(label) < 5 else None
    value = number(label)
    return int(value) if value is not None and value >= 0 and value.is_integer() else None


def named(label: Any, names: Sequence[str]) -> Any:
    """The name of a label that is given by number; any other label, and a number without a name, as it is."""
    at_number = _class_number(label) if names and label not in names else None
    return names[at_number] if at_number is not None and at_number < len(names) else label


def first_number(labels: Sequence[Any]) -> Any:
    """The first label that is a number, or None; digits as text are one where no other label is a name."""
    given = [label for label in labels if label is not None and label not in ("", OUTSIDE)]
    has_names = any(isinstance(label, str) and _class_number(label) is None for label in given)
    numbers = (each for each in given if _class_number(each) is not None and not (has_names and isinstance(each, str)))
    return next(numbers, None)


def _carried(text: Any) -> dict[str, Any]:
    """Fields that our export carries along as the text of a JSON object, because columns have one type."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def to_row(receipt: Receipt) -> dict[str, Any]:
    """A receipt as a row; `read` gives the same receipt back.

    What models are trained on is words, bboxes (0..1000) and ner_tags (BIO); the columns after these say all else.
    """
    words = receipt.words
    return {
        "id": receipt.name or receipt.key,
        "source": receipt.source,
        "split": receipt.split,
        "width": receipt.width or int(GRID),
        "height": receipt.height or int(GRID),
        "words": [word.text for word in words],
        "bboxes": [list(word.box_1000()) for word in words],
        "ner_tags": [
            tag for line in receipt.lines() for tag in to_bio([word.valid_label() or OUTSIDE for word in line])
        ],
        _EXACT: [list(word.box) for word in words],
        "lines": [word.line for word in words],
        "word_labels": [[[each.name, each.status, each.proposed_by] for each in word.labels] for word in words],
        "confidences": [word.confidence for word in words],
        "word_extras": [json.dumps(word.extra) if word.extra else None for word in words],
        "image_id": receipt.image_id,
        "receipt_id": receipt.receipt_id,
        "extra": json.dumps(receipt.extra) if receipt.extra else None,
        _REVIEW: asdict(receipt.review) if receipt.review else None,
    }


def _in_pixels(rows: Sequence[Any]) -> bool:
    """Whether boxes are pixels of the pages whose sizes stand in the rows, and not 0..1000.

    The unit in which more boxes lie on their page; if it is the same, the one in which they cover more of it.
    """
    pixels, grid, sized = [0.0, 0.0], [0.0, 0.0], 0
    for row in rows:
        width, height = number(at(row, "width")), number(at(row, "height"))
        boxes = [box_of(points) for box in items(either(row, *_BOXES)) if (points := points_of(box)) is not None]
        if width is None or height is None or min(width, height) < 1 or not boxes:
            continue
        sized += 1
        right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
        for found, w, h in ((pixels, width, height), (grid, GRID, GRID)):
            on_page = sum(box[2] <= 1.01 * w and box[3] <= 1.01 * h for box in boxes) / len(boxes)
            found[0] += on_page
            found[1] += min(right / w, bottom / h)
    return sized > 0 and (round(pixels[0] - grid[0], 6), pixels[1]) > (0, grid[1])


def class_labels(path: Path) -> tuple[str, ...]:
    """The names in the dataset_info.json beside a file; none if there is none."""
    for folder in (path.parent, path.parent.parent):
        try:
            info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        for tags in _TAGS:
            found = _names(at(info, "features", tags))
            if found:
                return found
    return ()


def _names(feature: Any, depth: int = 4) -> tuple[str, ...]:
    names = at(feature, "names")
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    inner = [each for each in (at(feature, "feature"), at(feature, 0)) if each is not None]
    return next((found for each in inner if depth and (found := _names(each, depth - 1))), ())


def is_info(value: Any) -> bool:
    """Whether it describes a data set, and is none."""
    return isinstance(at(value, "features"), dict) or "_data_files" in (value if isinstance(value, dict) else {})


FORMAT: Final = Format(
    name="hf",
    expected="words or tokens (texts), bboxes and ner_tags, lists of one length, a row an object",
    is_json=is_columns,
    read_json=read,
    is_beside=is_info,
)
