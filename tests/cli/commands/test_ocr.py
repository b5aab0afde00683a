"""`receipt-trainer receipts ocr` on drawn photos."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from receipt_trainer.cli.commands.receipts import ocr_command
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.errors import UserError
from receipt_trainer.inference import ocr_receipts
from receipt_trainer.inference.ocr import Ocr
from tests.inference.drawn import drawn_receipt


def ocr(*arguments: object) -> Result:
    return CliRunner().invoke(ocr_command, [str(argument) for argument in arguments])


def test_photos_become_receipts_that_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of each image with gold's labels; stopped within a line and started again, what is whole stays; a new
    image is added, one that has changed is read again, one that is no image is refused, and the exit code says so."""
    model = Ocr()
    reads: list[int] = []

    class Counting:
        def read(self, *arguments: object) -> object:
            reads.append(1)
            return model.read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ocr_receipts, "Ocr", Counting)
    image, receipt = drawn_receipt(2, 0, "bistro")
    crop = image.crop((0, 0, image.width, image.height // 3))
    (tmp_path / "photos").mkdir()
    crop.save(tmp_path / "photos" / "one.png")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    gold, output = tmp_path / "gold.jsonl", tmp_path / "words.jsonl"
    line = json.loads(to_line(receipt)) | {"id": "one", "height": crop.height}
    line["words"] = [word for word in line["words"] if word["box"][3] < crop.height]
    gold.write_text(json.dumps(line) + "\n")

    done = ocr(tmp_path / "photos", "-o", output, "--gold", gold)
    assert done.exit_code == 0, done.output
    (written,) = [json.loads(text) for text in output.read_text().splitlines()]
    assert (written["id"], written["fields"], written["width"]) == ("one", line["fields"], image.width)
    wanted = Counter(word["label"] for word in line["words"] if word["label"] != "O")
    found = Counter(word["label"] for word in written["words"] if word["label"] != "O")
    assert (wanted & found).total() >= 0.8 * wanted.total() > 4
    assert "1 pages have gold" in done.output

    with output.open("a") as stream:
        stream.write('{"id": "half')
    crop.rotate(180).crop((0, 0, 60, 40)).save(tmp_path / "photos" / "two.png")
    (tmp_path / "photos" / "three.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    again = ocr(tmp_path / "photos", "-o", output, "--gold", gold)
    assert again.exit_code == 1
    assert "1 unchanged" in again.output
    assert "three.jpg: not a readable image" in again.output
    assert json.loads(output.read_text().splitlines()[0]) == written
    assert len(reads) == 2


def test_a_file_of_other_receipts_is_left_alone(tmp_path: Path) -> None:
    """What another command wrote is never overwritten, nor a file of another kind begun."""
    image, receipt = drawn_receipt(2, 0, "bistro")
    image.save(tmp_path / "one.png")
    (tmp_path / "gold.jsonl").write_text(to_line(receipt))
    before = (tmp_path / "gold.jsonl").read_text()
    for output, said in (("gold.jsonl", "holds other receipts"), ("words.csv", "must be called *.jsonl")):
        done = ocr(tmp_path / "one.png", "-o", tmp_path / output)
        assert isinstance(done.exception, UserError)
        assert said in str(done.exception)
    assert (tmp_path / "gold.jsonl").read_text() == before
