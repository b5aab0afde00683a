"""Data sets of Hugging Face as Parquet files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.export import lines
from receipt_trainer.data.sources.load import read_files
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate
from receipt_trainer.errors import UserError
from tests.data.sources.samples import TEXTS, columns

NAMES = ["O", "B-GRAND_TOTAL", "B-LINE_TOTAL", "B-MERCHANT_NAME", "I-MERCHANT_NAME", "B-PRODUCT_NAME"]
WANTED = ["MERCHANT_NAME", "MERCHANT_NAME", "PRODUCT_NAME", "LINE_TOTAL", None, "GRAND_TOTAL"]
"""Labels of the sample's words."""


def features(**more: Any) -> dict[bytes, bytes]:
    """What `datasets` writes beside the columns."""
    tags = {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "Sequence"}
    return {b"huggingface": json.dumps({"info": {"features": {"ner_tags": tags, **more}}}).encode()}


def write(path: Path, rows: list[dict[str, Any]], metadata: dict[bytes, bytes] | None = None) -> Path:
    """The rows as a file."""
    parquet.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(metadata), path)
    return path


def test_columns_with_the_names_of_their_numbers(tmp_path: Path) -> None:
    """Words, boxes of 0..1000 and tags by the names of the file's own ClassLabel, whatever the file is called; bytes of
    an image and a date, which are no part of a receipt's words, do not get in the way."""
    image = {"bytes": b"\x89PNG", "path": "a.png"}
    row = columns(numbers=True) | {"image": image, "day": pa.scalar(0, pa.date32()).as_py(), "score": float("nan")}
    (receipt,) = read_files(write(tmp_path / "train-00000", [row], features()), ProblemLog())
    assert [word.text for word in receipt.words] == TEXTS
    assert [word.valid_label() for word in receipt.words] == WANTED
    assert receipt.words[3].box == pytest.approx((0.75, 0.25, 0.9, 0.275))
    assert to_line(receipt)


def test_numbers_without_names(tmp_path: Path) -> None:
    """Numbers of which nothing says what they are are a mistake that names what to do; names given on the command line
    count."""
    path = write(tmp_path / "a.parquet", [columns(numbers=True)])
    with pytest.raises(UserError, match="--label-names"):
        read_files(path, ProblemLog())
    (receipt,) = read_files(path, ProblemLog(), label_names=NAMES)
    assert [word.valid_label() for word in receipt.words] == WANTED


def test_our_export_as_a_parquet_file_is_the_same_receipts(tmp_path: Path) -> None:
    """Rows of `receipts export --format hf` that somebody has stored as Parquet import as what they were."""
    receipts = list(generate(5, 3))
    rows = [json.loads(line) for line in lines(receipts, "hf")]
    found = read_files(write(tmp_path / "rows.parquet", rows), ProblemLog())
    assert sorted(map(to_line, found)) == sorted(map(to_line, receipts))


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"PAR1{}"])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    """What only begins like one is refused in one line with the file's name."""
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.parquet: a Parquet file that cannot be read"):
        read_files(path, ProblemLog())


def test_another_table(tmp_path: Path) -> None:
    """A table of something else is said to be none of the formats, with what it has."""
    with pytest.raises(UserError, match="JSON with price, day"):
        read_files(write(tmp_path / "a.parquet", [{"price": 1, "day": "x"}]), ProblemLog())
