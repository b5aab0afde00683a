"""`receipts check`: what training would meet, told and drawn."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from receipt_trainer.cli.receipt_trainer import group
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.dynamodb.write import import_receipts
from receipt_trainer.data.sources.record import parse_record, to_record
from receipt_trainer.data.synthetic import generate
from receipt_trainer.errors import UserError
from tests.reports.test_html import Page

Records = list[dict[str, Any]]
SOUND: Records = [to_record(receipt) for receipt in generate(16, 5)]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def records() -> Records:
    return deepcopy(SOUND)


def check(records: Records, *more: str) -> Result:
    Path("mine.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return CliRunner().invoke(group, ["receipts", "check", "mine.jsonl", *more])


def page() -> Page:
    html = Path("mine.jsonl.check.html").read_text()
    assert "default-src 'none'" in html
    found = Page(html)
    assert not {"script", "iframe", "object"} & set(found.tags)
    assert all(reference.startswith(("#", "data:")) for reference in found.references)
    return found


def test_sound_receipts(records: Records) -> None:
    """Sound receipts give exit code 0, the split that training makes, and ten of them drawn on one page."""
    done = check(records)
    assert done.exit_code == 0, done.output
    assert "16 receipts" in done.output
    assert "Sound: training would run." in done.output
    assert "10 receipts drawn in mine.jsonl.check.html" in done.output
    assert page().tags.count("article") == 10


def _xywh(x0: float, y0: float, x1: float, y1: float, w: float, h: float) -> list[float]:
    return [x0, y0, x1 - x0, y1 - y0]


def _fractions(x0: float, y0: float, x1: float, y1: float, w: float, h: float) -> list[float]:
    return [x0 / w, y0 / h, x1 / w, y1 / h]


def _grid(x0: float, y0: float, x1: float, y1: float, w: float, h: float) -> list[float]:
    return [round(1000 * part) for part in _fractions(x0, y0, x1, y1, w, h)]


@pytest.mark.parametrize(
    ("change", "cause"),
    [(_xywh, "x, y, width, height"), (_fractions, "fractions of the page"), (_grid, "parts of 1000")],
)
def test_wrong_frame_is_named_and_drawn(records: Records, change: Callable[..., list[float]], cause: str) -> None:
    """A file whose boxes mean something else is unusable (2), the cause is said, and its boxes are drawn as given."""
    for record in records:
        for word in record["words"]:
            word["box"] = change(*word["box"], record["width"], record["height"])
    done = check(records)
    assert done.exit_code == 2
    assert cause in " ".join(done.output.split())
    html = Path("mine.jsonl.check.html").read_text()
    assert page().tags.count("article") == 10
    assert html.count('<rect class="off"') > 150


def test_swapped_page_is_a_problem(records: Records) -> None:
    """Swapped sides: exit code 1, words outside are red, and the photo shows that the page has another shape."""
    for record in records:
        record["width"], record["height"] = record["height"], record["width"]
        Image.new("L", (record["height"], record["width"])).save(f"{record['id']}.png")
    done = check(records)
    assert done.exit_code == 1
    assert "page_size_swapped" in done.output
    found = page()
    assert "another shape than the page" in found.text
    assert found.tags.count("image") >= 5


def test_lines_as_words_and_stored_splits_are_said(records: Records) -> None:
    """Whole lines are a problem; splits that nothing asks for are good to know."""
    for n, record in enumerate(records):
        record["split"] = "dev" if n % 4 else "train"
        for word in record["words"]:
            word["text"] = f"{word['text']} and much more"
    done = check(records, "--no-html")
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "words are several words each: are they whole lines?" in said
    assert "stored splits (dev 12, train 4) are not looked at" in said


def test_oddities_are_drawn_first_and_hostile_texts_are_texts(records: Records) -> None:
    """Each kind of problem has a receipt on the page; whatever texts say, they stay texts."""
    records[0]["id"] = '"><img src=x onerror=alert(1)>'
    records[0]["words"][0] |= {"text": "<script>alert(1)</script>\u202e", "box": [1e9, 1, 2e9, 2]}
    records[1]["words"][1]["label"] = "TOTAL_AMOUNT"
    records[2]["words"][1]["label"] = "</style><script>x"
    records[3]["words"][0]["box"] = None
    records[4]["words"][0]["text"] = " "
    del records[5]["width"]
    records[6]["words"] = []
    records[7]["words"] = [word | {"label": "O"} for word in records[7]["words"]]
    done = check([*records, records[8], {"id": "no"}, 5])  # type: ignore[list-item]
    assert done.exit_code == 1
    assert "TOTAL_AMOUNT (1 x) is not known: is it GRAND_TOTAL?" in " ".join(done.output.split())
    assert "\u202e" not in done.output
    found = page()
    shown = [records[n]["id"] for n in (0, 1, 3, 4, 5, 8)]
    assert [name for name in shown if name not in found.text] == []


def test_labels_of_programs_alone_are_unusable(records: Records) -> None:
    """Where no label is VALID there is nothing to learn: exit code 2, and what they are is said."""
    for record in records:
        for word in record["words"]:
            word["labels"] = [[word["label"], "PENDING"]] if word["label"] != "O" else []
    done = check(records, "--no-html")
    assert done.exit_code == 2
    assert "PENDING): there is nothing to learn" in " ".join(done.output.split())
    assert not Path("mine.jsonl.check.html").exists()


def test_a_file_that_is_no_page_is_kept(records: Records) -> None:
    """An earlier page is replaced; any other file of that name stays, and the command says so."""
    Path("other.html").write_text("mine")
    done = check(records, "--html", "other.html")
    assert isinstance(done.exception, UserError)
    assert "--html" in str(done.exception)
    assert Path("other.html").read_text() == "mine"
    assert [check(records).exit_code for _ in range(2)] == [0, 0]


def test_other_formats_and_the_table(receipts_table: str) -> None:
    """A file of another program is checked by its own boxes, and the receipts table without a file."""
    words = [{"text": "A", "box": [50, 50, 40, 10]}, {"text": "B", "box": [60, 60, 40, 10]}]
    entity = {"id": 0, "text": "A B", "label": "question", "box": [0, 0, 9, 9], "linking": [], "words": words}
    Path("form.json").write_text(json.dumps({"form": [entity]}))
    done = CliRunner().invoke(group, ["receipts", "check", "form.json"])
    assert done.exit_code == 2
    assert "form.json: read as funsd" in done.output
    assert Path("form.json.check.html").read_text().count('<rect class="labelled"') == 2 + 1  # and the legend's
    receipts = [found for record in SOUND if (found := parse_record(record, "", ProblemLog()))]
    import_receipts(receipts_table, receipts, ProblemLog())
    done = CliRunner().invoke(group, ["receipts", "check", "--dynamo-table", receipts_table])
    assert done.exit_code == 0, done.output
    assert f"10 receipts drawn in {receipts_table}.check.html" in done.output


def test_the_base_install_is_enough(records: Records) -> None:
    """Without torch, numpy, Pillow and jinja2 all is told; that there is no page is said."""
    check(records, "--no-html")
    program = (
        "import sys; sys.modules |= dict.fromkeys(['torch', 'numpy', 'PIL', 'jinja2', 'transformers']);"
        "from receipt_trainer.cli.receipt_trainer import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "receipts", "check", "mine.jsonl"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Sound: training would run." in done.stdout
    assert "no page is written" in done.stderr
