"""Drawn documents: their truth is exactly what stands in the image, whoever draws them."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image

from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipts.jsonl import read_jsonl
from receipt_trainer.errors import UserError
from receipt_trainer.vl.examples import read_examples
from receipt_trainer.vl.schema import arithmetic_problems, check
from receipt_trainer.vl.sums import minor_digits
from receipt_trainer.vl.synthetic.boxes import words_of
from receipt_trainer.vl.synthetic.dataset import Plan, generate_dataset
from receipt_trainer.vl.synthetic.draw import Drawn, draw_example
from receipt_trainer.vl.synthetic.fonts import Face, bundled
from receipt_trainer.vl.synthetic.languages import LANGUAGES, drawable, fonts_of
from receipt_trainer.vl.synthetic.money import Money, date_text
from receipt_trainer.vl.synthetic.page import LayoutFaultError, Page, wrap
from receipt_trainer.vl.synthetic.templates import TEMPLATES

ALL = tuple(TEMPLATES)
BUNDLED = tuple(code for code in LANGUAGES if code not in ("ja", "zh"))
MONEY = re.compile(r"-?\d[\d.,\u00a0]*")


def draw(index: int, *, seed: int = 0, templates: tuple[str, ...] = ALL, languages: tuple[str, ...] = BUNDLED) -> Drawn:
    return draw_example(seed, index, templates, [(LANGUAGES[code], fonts_of(LANGUAGES[code])) for code in languages])


@cache
def many() -> tuple[Drawn, ...]:
    return tuple(draw(index) for index in range(240))


def amounts(drawn: Drawn) -> set[Decimal]:
    """Every number that stands on the page, by its digits, whatever its separators."""
    found = set()
    for text in drawn.page.texts:
        for match in MONEY.findall(text.text):
            found.add(Decimal(re.sub(r"[.,\u00a0]", "", match)))
    return found


def scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from scalars(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from scalars(inner)
    elif value is not None:
        yield value


def test_every_truth_fits_the_schema_and_adds_up() -> None:
    """By construction, in every template, language and currency."""
    for drawn in many():
        assert check(drawn.truth) == []
        assert arithmetic_problems(drawn.truth) == []
        assert 0 <= drawn.difficulty <= 1
    assert {drawn.template for drawn in many()} == set(ALL)
    assert {drawn.language for drawn in many()} == set(BUNDLED)


def test_documents_differ_as_real_ones_do() -> None:
    """Currencies, taxes on top and inside, reverse charge, discounts, long tables and missing fields all occur."""
    truths = [drawn.truth for drawn in many()]
    assert {"USD", "GBP", "EUR", "JPY", "CHF", "INR", "PLN", None} <= {truth["currency"] for truth in truths}
    assert any(truth["tax_rate"] == 0 for truth in truths)
    assert any(truth["discount"] for truth in truths)
    assert any(item["total"] < 0 for truth in truths for item in truth["line_items"])
    inside = [truth for truth in truths if truth["tax"] and truth["subtotal"] == truth["grand_total"]]
    on_top = [truth for truth in truths if truth["tax"] and (truth["subtotal"] or 0) < truth["grand_total"]]
    assert inside
    assert on_top
    assert max(len(truth["line_items"]) for truth in truths) >= 30
    for key in ("invoice_number", "date", "due_date", "client", "tax", "subtotal"):
        assert {truth[key] is None for truth in truths} == {True, False}


def test_the_truth_stands_on_the_page() -> None:
    """Every text of the truth is drawn, letter by letter, and every amount, digit by digit."""
    for drawn in many():
        page = " ".join(text.text for text in drawn.page.texts)
        tight = page.replace(" ", "").replace(":", "")
        vendor, client = drawn.truth["vendor"], drawn.truth["client"] or {}
        texts = [*vendor.values(), *client.values(), drawn.truth["invoice_number"]]
        texts += [item["description"] for item in drawn.truth["line_items"]]
        for text in filter(None, texts):
            for part in text.split(", "):
                assert part.replace(" ", "").replace(":", "") in tight, (part, drawn.template)
        shown = amounts(drawn)
        for key in ("subtotal", "tax", "discount", "grand_total"):
            if drawn.truth[key] is not None:
                digits = {Decimal(str(drawn.truth[key])).scaleb(n) for n in (0, 2, 3)}
                assert digits & shown or {-number for number in digits} & shown, (key, drawn.truth[key])


def test_nothing_else_stands_on_the_page() -> None:
    """As many lines are drawn as the truth has, and no value that it lacks."""
    for drawn in many():
        labels = [text.label for text in drawn.page.texts]
        assert labels.count("LINE_TOTAL") == len(drawn.truth["line_items"])
        for label, value in (
            ("SUBTOTAL", "subtotal"),
            ("TAX", "tax"),
            ("DATE", "date"),
            ("GRAND_TOTAL", "grand_total"),
        ):
            assert labels.count(label) == (drawn.truth[value] is not None)
        known = [text.text for text in drawn.page.texts if text.label == "QUANTITY"]
        assert len(known) == sum(item["quantity"] is not None for item in drawn.truth["line_items"])


def test_ink_stays_in_its_boxes() -> None:
    """What is drawn is where it was measured: outside the boxes, bands and rules there is bare paper."""
    for drawn in many()[:40]:
        pixels = np.asarray(drawn.page.draw()).copy()
        boxes = [text.box for text in drawn.page.texts]
        boxes += [box for box, _ in (*drawn.page.bands, *drawn.page.rules)]
        for x0, y0, x1, y1 in boxes:
            pixels[y0:y1, x0:x1] = drawn.page.paper
        assert (pixels == drawn.page.paper).all()


def test_texts_that_overlap_or_leave_the_page_are_found() -> None:
    """The check that every page goes through sees each of the three faults."""
    face = Face(bundled()[0], 16)
    for x, y, rule in ((30, 22, None), (180, 60, None), (30, 60, (20, 68, 100, 68))):
        page = Page(200, 100)
        page.put("Total", 30, 20, face)
        page.put("Summe", x, y, face)
        if rule:
            page.rule(*rule)
        with pytest.raises(LayoutFaultError, match=r"touches|leaves"):
            page.draw()


def test_an_example_depends_on_its_seed_and_number_alone() -> None:
    """Drawn again, or alone, it is the same to the pixel; another seed or number gives another."""
    first = many()[7]
    again = draw(7)
    assert first.truth == again.truth
    assert first.page.draw().tobytes() == again.page.draw().tobytes()
    others = [draw(7, seed=1), draw(8)]
    assert all(other.truth != first.truth for other in others)


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


PLAN = Plan(3, ("bistro", "thermal"), ("en", "de"), "mixed", 0.7)


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    """One process or two: every file is the same, and the lists read back as examples whose images are there."""
    for workers in (1, 2):
        summary = generate_dataset(tmp_path / str(workers), 24, PLAN, workers=workers)
        assert (summary.count, summary.drawn) == (24, 24)
    assert files(tmp_path / "1") == files(tmp_path / "2")
    examples = [example for name in ("train", "val") for example in read_examples(tmp_path / "1" / f"{name}.jsonl")]
    assert len({example.id for example in examples}) == 24
    assert {example.image.suffix for example in examples} == {".png", ".jpg"}
    assert all(example.image.is_file() for example in examples)


def test_a_larger_set_begins_with_the_smaller(tmp_path: Path) -> None:
    """More of the same plan in the same folder keeps what is there and adds to it."""
    generate_dataset(tmp_path, 4, PLAN)
    before = files(tmp_path)
    summary = generate_dataset(tmp_path, 6, PLAN)
    assert (summary.count, summary.drawn) == (6, 2)
    images = {name: digest for name, digest in before.items() if name.startswith("images")}
    assert images.items() <= files(tmp_path).items()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Other settings, or files of the user's, are refused and nothing is touched."""
    generate_dataset(tmp_path / "a", 2, PLAN)
    before = files(tmp_path / "a")
    with pytest.raises(UserError, match="other settings"):
        generate_dataset(tmp_path / "a", 2, Plan(4, ALL, ("en",)))
    assert files(tmp_path / "a") == before
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"):
        generate_dataset(tmp_path / "b", 2, PLAN)
    assert list((tmp_path / "b").iterdir()) == [tmp_path / "b" / "mine.txt"]


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """While images are drawn there is no list; after a SIGKILL the same command gives what an undisturbed one gives."""
    code = (
        "from pathlib import Path\nfrom tests.vl.test_synthetic import PLAN\n"
        "from receipt_trainer.vl.synthetic.dataset import generate_dataset\n"
        f"generate_dataset(Path({str(tmp_path / 'killed')!r}), 3000, PLAN)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], env=dict(os.environ))
    images = tmp_path / "killed" / "images"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(images.glob("0*"))) < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "train.jsonl").exists()
    there = len(list(images.glob("0*")))
    assert 5 <= there < 3000
    summary = generate_dataset(tmp_path / "killed", there, PLAN)
    assert summary.drawn == 0
    generate_dataset(tmp_path / "whole", there, PLAN)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_boxes_are_receipts_of_the_first_family(tmp_path: Path) -> None:
    """Every word comes back with its box and label, with no complaint, and its ink is inside the box."""
    plan = Plan(0, ("classic", "bistro"), ("en",), boxes=True, split=1)
    generate_dataset(tmp_path, 4, plan)
    problems = ProblemLog()
    receipts = list(read_jsonl(tmp_path / "receipts.jsonl", problems))
    examples = read_examples(tmp_path / "train.jsonl")
    assert not problems.counts
    assert [receipt.name for receipt in receipts] == [example.id for example in examples]
    for receipt, example in zip(receipts, examples, strict=True):
        merchant = " ".join(word.text for word in receipt.words if word.valid_label() == "MERCHANT_NAME")
        assert merchant == json.loads(example.output)["vendor"]["name"]
        with Image.open(example.image) as image:
            assert image.size == (receipt.width, receipt.height)
    texts = [text for drawn in many()[:30] for text in drawn.page.texts]
    for text in texts:
        boxes = [box for _, box in words_of(text)]
        assert boxes == sorted(boxes)
        assert boxes[-1][2] <= text.box[2] + 2


def test_languages_without_a_font_are_named(tmp_path: Path) -> None:
    """Of all languages those without a font are left out; one that was asked for by name is an error that says so."""
    drawn, left_out = drawable((), (tmp_path,))
    assert set(drawn) == set(BUNDLED)
    assert set(left_out) == {"ja", "zh"}
    with pytest.raises(UserError, match="no font here has all letters of ja"):
        drawable(("en", "ja"), (tmp_path,))
    with pytest.raises(UserError, match="no language xx"):
        drawable(("xx",))


def test_a_font_of_the_folder_is_taken(tmp_path: Path) -> None:
    """A font that has the letters makes a language drawable, and its documents are drawn with it."""
    letters = sorted({*LANGUAGES["ja"].letters, *map(chr, range(32, 127))})
    builder = FontBuilder(1000, isTTF=True)
    names = [".notdef", *(f"g{n}" for n in range(len(letters)))]
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for point in ((900, 0), (900, 800), (100, 800)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"g{n}" for n, letter in enumerate(letters)})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "squares.ttf")
    codes, left_out = drawable(("ja",), (tmp_path,))
    assert (codes, left_out) == (("ja",), ())
    families = fonts_of(LANGUAGES["ja"], (tmp_path,))
    for index in range(12):
        drawn = draw_example(0, index, ALL, [(LANGUAGES["ja"], families)])
        assert {text.face.family.name for text in drawn.page.texts} == {"squares"}
        assert drawn.truth["currency"] == "JPY"
        assert all(isinstance(item["total"], int) for item in drawn.truth["line_items"])


@pytest.mark.parametrize(
    ("currency", "first", "amount", "text"),
    [
        ("EUR", False, "1234.5", "1.234,50 €"),
        ("USD", True, "-1234567.89", "-$1.234.567,89"),
        ("JPY", True, "1234", "¥1.234"),
        ("KWD", True, "1.5", "KWD 1,500"),
    ],
)
def test_amounts_are_written_as_people_do(currency: str, first: bool, amount: str, text: str) -> None:
    """The currency's digits, the language's separators, the sign before or after."""
    sign = {"EUR": "€", "USD": "$", "JPY": "¥"}.get(currency, currency)
    money = Money(currency, sign, ",", ".", first, "" if first else " ")
    assert money.signed(Decimal(amount)) == text


def test_dates_are_written_in_the_language() -> None:
    """Months by name, days with and without a leading zero."""
    from datetime import date

    day = date(2024, 3, 5)
    assert date_text(day, "%-d. %B %Y", LANGUAGES["de"]) == "5. März 2024"
    assert date_text(day, "%d/%m/%Y", LANGUAGES["fr"]) == "05/03/2024"
    assert date_text(day, "%Y年%-m月%-d日", LANGUAGES["ja"]) == "2024年3月5日"


def test_wrapping_loses_nothing() -> None:
    """Lines joined again are the text, and each is as narrow as asked for."""
    face = Face(bundled()[0], 16)
    for text in ("Security audit with written report", "Bedienungsanleitungsübersetzung", "a"):
        for width in (60, 100, 300):
            lines = wrap(text, face, width)
            assert "".join(lines).replace(" ", "") == text.replace(" ", "")
            assert all(face.width(line) <= width for line in lines)


def alike(text: str) -> str:
    """Letters, digits and points, those that OCR cannot tell apart made one."""
    return re.sub(r"[^0-9a-z.]", "", text.lower()).translate(str.maketrans("lio", "110"))


def test_ocr_reads_the_truth_back() -> None:
    """A reader of images that knows nothing of us finds the names, the lines and every amount in the picture."""
    from rapidocr import RapidOCR

    reader = RapidOCR(params={"Global.log_level": "error"})
    wanted, missed = 0, []
    for index, template in ((6, "bistro"), (5, "thermal")):
        drawn = draw(index, seed=11, templates=(template,), languages=("en",))
        result = reader(np.asarray(drawn.page.draw())[:, :, ::-1])
        read = alike("".join(result.txts or ()))
        truth, digits = drawn.truth, minor_digits(drawn.truth["currency"])
        values = [truth["vendor"]["name"], truth["invoice_number"], f"{truth['grand_total']:.{digits}f}"]
        for item in truth["line_items"]:
            values += [item["description"], f"{item['total']:.{digits}f}"]
        wanted += len([value for value in values if value])
        missed += [value for value in values if value and alike(value) not in read]
    assert wanted >= 15
    assert len(missed) <= wanted * 0.05, missed
