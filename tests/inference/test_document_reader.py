"""Documents of any kind become answers in the published shape."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from receipt_trainer import load
from receipt_trainer.contract.package import Calibration
from receipt_trainer.data.page_words import DocumentWords, PageWord, PageWords
from receipt_trainer.errors import UserError
from receipt_trainer.extraction.known import make_known
from receipt_trainer.inference import batch, document_reader
from receipt_trainer.inference.answer import schema
from receipt_trainer.inference.answers_file import open_answers
from receipt_trainer.inference.document_reader import DocumentReader
from receipt_trainer.inference.inputs import IMAGES, WORDS, Inputs, files_below
from tests.extraction.receipts import LABELS
from tests.inference.told import ToldModel, record

VALIDATOR = Draft202012Validator(schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
LINES = (
    "N:Big N:Shop",
    "D:06/03/2018 H:7:51pm",
    "Q:2kg P:Bread U:1.50 T:3.00",
    "P:Discount T:-1.00",
    "X:0.20",
    "TOTAL G:RM2.20",
)


def reader(sure: float = 0.95, manifest: dict[str, Any] | None = None, **options: Any) -> DocumentReader:
    return DocumentReader(ToldModel(sure, **(manifest or {})), **options)  # type: ignore[arg-type]


def codes(answer: Any) -> list[str]:
    return [reason["code"] for reason in answer["review_reasons"]]


def test_the_schema_is_one() -> None:
    """The file is a sound JSON schema of the draft that it names."""
    Draft202012Validator.check_schema(schema())


def test_an_answer() -> None:
    """Words in, every part of the answer out, in the published shape; indices lead to the words."""
    answer = reader().read(record("r1", *LINES))
    VALIDATOR.validate(answer)
    assert answer["id"] == "r1"
    assert answer.summary["merchant"] == "Big Shop"
    assert (answer.summary["date"], answer.summary["total"], answer.summary["currency"]) == (None, "2.20", "MYR")
    assert answer.fields["DATE"][0]["ambiguous"] == ["2018-03-06", "2018-06-03"]
    assert [(item["discount"], item["total"]["value"]["amount"]) for item in answer["items"]] == [
        (False, "3.00"),
        (True, "-1.00"),
    ]
    assert (answer["items"][0]["quantity"]["value"], answer["items"][0]["quantity"]["unit"]) == ("2", "kg")
    assert answer["review"] is True
    assert "ambiguous_value" in codes(answer)
    for finds in answer.fields.values():
        for find in finds:
            assert find["text"] == " ".join(answer["words"][number]["text"] for number in find["words"])


def test_what_the_user_and_the_model_say() -> None:
    """The order of dates by option, or by the model's training; the currency by option."""
    given = record("r1", *LINES)
    assert reader(date_order="mdy").read(given).summary["date"] == "2018-06-03"
    assert reader(manifest={"date_orders": {"dmy": 50}}).read(given).summary["date"] == "2018-03-06"
    assert reader(currency="SGD").read(record("r", "G:2.20")).summary["currency"] == "SGD"


def test_today_is_the_clocks_at_each_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that lives long tells by the day of each read what lies in the future; a day that is given stays."""
    given = record("r1", "D:27/02/03", "G:RM2.20")
    read = {"the clock's": reader(), "given": reader(today=date(2025, 1, 1))}

    def days(which: str) -> list[str]:
        (found,) = read[which].read(given).fields["DATE"]
        return found.get("ambiguous") or [found["value"]]

    for year, possible in ((2025, ["2003-02-27"]), (2027, ["2003-02-27", "2027-02-03"])):
        monkeypatch.setattr(document_reader, "date", SimpleNamespace(today=lambda year=year: date(year, 1, 1)))
        assert (days("the clock's"), days("given")) == (possible, ["2003-02-27"])


def test_words_without_lines_or_id() -> None:
    """Lines are computed where they are missing, and so is the order of reading."""
    given = record("r1", *LINES)
    del given["id"]
    for word in given["words"]:
        del word["line"]
    given["words"].reverse()
    answer = reader().read(given)
    VALIDATOR.validate(answer)
    assert [word["text"] for word in answer["words"]][:2] == ["Big", "Shop"]
    assert answer.summary["total"] == "2.20"


def test_confidence_and_what_a_person_should_see() -> None:
    """Low confidence, a model without calibration, unread words: each is told; a field's confidence is a product."""
    unsure = reader(0.7, manifest={"calibration": Calibration()}).read(record("r1", "N:Big N:Shop", "G:2.20"))
    assert {"low_confidence", "uncalibrated", "no_date"} <= set(codes(unsure))
    words = tuple(PageWord(text, (10, 10 + 30 * n, 90, 30 + 30 * n), n, 0.3) for n, text in enumerate("abc"))
    unread = reader().read(DocumentWords("d", (PageWords(1, 400, 600, words),)))
    VALIDATOR.validate(unread)
    assert {"unread_words", "no_fields"} <= set(codes(unread))
    assert unread["pages"][0]["ocr_confidence"] == 0.3


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["", *(f"{letter}:" for letter in LABELS)]),
                st.one_of(
                    st.text(alphabet="0123456789.,/-:()RMx%@$€ OlS٣", min_size=1, max_size=12),
                    st.text(min_size=1, max_size=8),
                    st.sampled_from(
                        ["1.234", "12,50-", "06/03/18", "(3.00)", "7:51pm", "2@1.50", "RM5.00", "30 MAR 2018"]
                    ),
                ),
            ),
            max_size=5,
        ),
        max_size=6,
    )
)
@settings(max_examples=60)
def test_any_words(lines: list[list[tuple[str, str]]]) -> None:
    """Whatever words bear whatever labels, the answer has the published shape."""
    given_lines = [" ".join(label + "".join(text.split()) for label, text in line) for line in lines]
    document = record("any", "N:Shop", *given_lines)
    VALIDATOR.validate(reader().read(document))


def test_several_pages() -> None:
    """Pages are read one by one; lines are counted through them, and each find says its page."""
    record("x", "N:Big")
    pages = tuple(PageWords(n, 400, 600, (PageWord("Big", (10, 0, 50, 20), 0),)) for n in (1, 2))
    answer = reader().read(DocumentWords("d", pages))
    VALIDATOR.validate(answer)
    assert [(word["page"], word["line"]) for word in answer["words"]] == [(1, 0), (2, 1)]
    assert [find["page"] for find in answer.fields["MERCHANT_NAME"]] == [1, 2]


def test_known_merchants() -> None:
    """A merchant of those known is put right, and the answer tells what was read."""
    answer = reader(known=make_known(["Butterfly Bakery"], [])).read(record("r", "N:Buttertly N:Bakery"))
    VALIDATOR.validate(answer)
    assert answer.fields["MERCHANT_NAME"][0]["repaired_from"] == "Buttertly Bakery"
    assert answer.summary["merchant"] == "Butterfly Bakery"


def test_invalid_words_are_left_out() -> None:
    """A word without a box on the page is named, and the rest is read."""
    given = record("r1", *LINES)
    given["words"][0]["box"] = [900, 900, 950, 950]
    answer = reader().read(given)
    VALIDATOR.validate(answer)
    assert len(answer["words"]) == len(given["words"]) - 1
    assert answer["problems"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"words": []}, "width"),
        ({"words": [], "width": "5", "height": 5}, "width '5'$"),
        ({"width": 10, "height": 10, "words": []}, "no word in it"),
        ({"width": 10, "height": 10}, "no words list"),
    ],
)
def test_what_is_no_document(given: dict[str, Any], said: str) -> None:
    """Refused in one line that says what is missing."""
    with pytest.raises(UserError, match=said):
        reader().read(given)


def test_files(tmp_path: Path) -> None:
    """A file of one receipt is read; one of several, or of none, says what to do."""
    one, two, empty = (tmp_path / f"{name}.jsonl" for name in ("one", "two", "empty"))
    line = json.dumps(record("r1", *LINES)) + "\n"
    one.write_text(line)
    two.write_text(line * 2)
    empty.write_text("\n")
    assert reader().read(str(one))["id"] == "r1"
    assert reader().read(one.read_bytes())["id"] == "r1"
    with pytest.raises(UserError, match="several documents"):
        reader().read(two)
    with pytest.raises(UserError, match="it is empty"):
        reader().read(empty)


def test_what_is_given_in_memory() -> None:
    """Bytes of any file with words, another program's dict, tuples and numpy's numbers are read as from a file."""
    given = record("r1", *LINES)
    wanted = reader().read(given)
    marked = b"\xef\xbb\xbf" + json.dumps(given, indent=1).encode()
    arrays = [{**word, "box": np.array(word["box"], dtype=np.float32)} for word in given["words"]]
    for same in (marked, json.dumps([given]).encode(), {**given, "width": np.int64(given["width"]), "words": arrays}):
        assert reader().read(same)["fields"] == wanted["fields"]
    box = {"Left": 0.1, "Top": 0.1, "Width": 0.2, "Height": 0.03}
    word = {"BlockType": "WORD", "Id": "1", "Text": "Shop", "Confidence": 99.0, "Geometry": {"BoundingBox": box}}
    textract = {"DocumentMetadata": {"Pages": 1}, "Blocks": [word]}
    for same in (textract, json.dumps(textract, indent=1).encode()):
        assert [word["text"] for word in reader().read(same)["words"]] == ["Shop"]
    with pytest.raises(TypeError, match="not list"):
        reader().read(["photo.jpg"])  # type: ignore[arg-type]


def test_confidences_that_are_no_probabilities() -> None:
    """Percentages and NaN count as not given, and are named once; no confidence of the answer exceeds 1."""
    words = [{**word, "confidence": 99} for word in record("r1", *LINES)["words"]]
    answer = reader().read({**record("r1", *LINES), "id": None, "words": words})
    Draft202012Validator(schema()).validate(answer)
    assert answer["id"] == "words"
    assert {word["ocr_confidence"] for word in answer["words"]} == {None}
    assert answer["problems"] == [
        f"bad_field: reading confidences of {len(words)} words are not between 0 and 1, taken as not given"
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"currency": "euro"}, "ISO 4217"), ({"date_order": "ydm"}, "dmy, mdy, ymd"), ({"known": "gone"}, "gone")],
)
def test_wrong_options(options: dict[str, Any], said: str) -> None:
    """An option that cannot be meant so is refused, and no answer breaks the schema for it."""
    with pytest.raises(UserError, match=said):
        DocumentReader(ToldModel(), **options)  # type: ignore[arg-type]


def test_threads() -> None:
    """One reader serves many threads, each with its own answer."""
    shared = reader()
    given = [record(f"r{number}", "N:Big N:Shop", f"G:{number}.50") for number in range(20)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(shared.read, given))
    assert [answer["id"] for answer in found] == [f"r{number}" for number in range(20)]


def test_a_real_package(run: Path) -> None:
    """`load` opens a run's package, and what its model reads has the published shape."""
    loaded = load(run, date_order="dmy")
    answer = loaded.read(record("r1", *LINES))
    VALIDATOR.validate(answer)
    assert answer["model"] == {"name": "job", "version": loaded.version, "precision": loaded.manifest.precision}
    assert loaded.version.startswith("job/")


def test_no_torch_is_imported() -> None:
    """`from receipt_trainer import load` brings no torch and nothing heavy; nor does the reader."""
    program = (
        "import sys; from receipt_trainer import load; assert 'numpy' not in sys.modules;"
        "import receipt_trainer.inference.batch, receipt_trainer.inference.ocr;"
        "print([name for name in ('torch', 'transformers', 'babel') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_texts_of_a_folder_are_read_where_their_content_is_known(tmp_path: Path) -> None:
    """A folder of SROIE has its words in *.txt: they are read; its keys and other texts beside are passed over."""
    for name, text in {
        "box/a.txt": "72,25,326,25,326,64,72,64,TAN WOON YANN\n",
        "key/a.txt": json.dumps({"company": "TAN WOON YANN"}),
        "notes.txt": "to be read tomorrow\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    read = reader()
    files = batch.files_of([str(tmp_path)])
    found = list(
        batch.answers(
            read,
            Inputs(read.open_photo),
            files,
            workers=1,
            named=[str(tmp_path)],
            options="",
            kept=None,
            done=lambda: None,
        )
    )
    assert [(answer["source"]["file"], len(answer["words"])) for answer in found] == [(str(tmp_path / "box/a.txt"), 3)]


def test_a_file_that_became_shorter_has_no_answers_left_of_what_it_had(tmp_path: Path) -> None:
    """Lines taken out of a file, and a file that now is nothing known, leave no answers behind."""
    file, other, output = tmp_path / "in/a.jsonl", tmp_path / "in/b.json", tmp_path / "out.jsonl"
    file.parent.mkdir()
    rows = [json.dumps(record(f"r{n}", "P:Bread L:4.50")) + "\n" for n in range(3)]

    def read_all() -> list[str]:
        read = reader()
        with open_answers(output, read.version, "") as kept:
            for answer in batch.answers(
                read,
                Inputs(read.open_photo),
                batch.files_of([str(file.parent)], output),
                workers=2,
                options="",
                kept=kept,
                done=lambda: None,
            ):
                kept.write(answer)
        return [json.loads(line)["id"] for line in output.read_text().splitlines()]

    file.write_text("".join(rows))
    other.write_text(rows[0])
    assert len(read_all()) == 4
    file.write_text("".join(rows[:2]))
    other.write_text("{}")
    assert len(read_all()) == 2


def test_a_folder_with_pipes_and_links_that_lead_nowhere(tmp_path: Path) -> None:
    """A pipe, which nobody may ever write to, is passed over; a link to itself or to nothing is a file to be refused; a
    link to a folder is not followed; a folder that may not be read is no folder without files."""
    (tmp_path / "a.jsonl").write_text("")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, target in {"self.json": "self.json", "gone.jpg": "nothing", "up": "."}.items():
        (tmp_path / name).symlink_to(target)
    names = ["a.jsonl", "gone.jpg", "self.json"]
    assert [path.name for path in files_below(tmp_path, (*IMAGES, *WORDS))] == names
    (tmp_path / "closed").mkdir(mode=0)
    if os.geteuid():  # the superuser may read it
        names.insert(1, "closed")
    assert [path.name for path in files_below(tmp_path, (*IMAGES, *WORDS))] == names
