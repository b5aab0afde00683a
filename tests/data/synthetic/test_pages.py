"""Laid out documents: their truth is exactly what stands in the image, whoever draws them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from receipt_trainer.data.amount_checks import arithmetic_problems, minor_digits
from receipt_trainer.data.document import check
from receipt_trainer.data.synthetic.layout import LaidOut, lay_out_example
from receipt_trainer.data.synthetic.locales import languages
from receipt_trainer.data.synthetic.page import Cell, Face, LayoutFaultError, Page, PlainFamily, wrap
from receipt_trainer.data.synthetic.render import bundled, draw, drawable, fonts_of, photograph
from receipt_trainer.errors import UserError
from tests.data.synthetic.drawn import ALL, BUNDLED, laid_out, many

MONEY = re.compile(r"-?\d[\d.,'’\u00a0]*")


def amounts(one: LaidOut) -> set[Decimal]:
    """Every number that stands on the page, by its digits, whatever its separators."""
    found = (match for text in one.page.texts for match in MONEY.findall(text.text))
    return {Decimal(re.sub(r"[.,'’\u00a0]", "", number)) for number in found}


def tight(text: str) -> str:
    return re.sub(r"[ :,]", "", text)


def test_every_truth_fits_the_schema_and_adds_up() -> None:
    """In every template and language."""
    for one in many():
        assert check(one.truth) == []
        assert arithmetic_problems(one.truth) == []
        assert 0 <= one.difficulty <= 1
    assert {one.template for one in many()} == set(ALL)
    assert {one.language for one in many()} == set(BUNDLED)


def test_documents_differ_as_real_ones_do() -> None:
    """Currencies, taxes on top and inside, reverse charge, discounts, long tables and missing fields all occur."""
    truths = [one.truth for one in many()]
    assert {"USD", "GBP", "EUR", "CHF", "INR", "PLN", "IDR", None} <= {truth["currency"] for truth in truths}
    assert any(truth["tax_rate"] == 0 for truth in truths)
    assert any(truth["discount"] for truth in truths)
    assert any(item["total"] < 0 for truth in truths for item in truth["line_items"])
    assert any(truth["tax"] and truth["subtotal"] == truth["grand_total"] for truth in truths)
    assert any(truth["tax"] and (truth["subtotal"] or 0) < truth["grand_total"] for truth in truths)
    assert max(len(truth["line_items"]) for truth in truths) >= 30
    for key in ("invoice_number", "date", "due_date", "client", "tax", "subtotal"):
        assert {truth[key] is None for truth in truths} == {True, False}


def test_the_truth_stands_on_the_page() -> None:
    """Every text of the truth is there, letter by letter, and every amount, digit by digit."""
    for one in many():
        page = tight("".join(text.text for text in one.page.texts))
        vendor, client = one.truth["vendor"], one.truth["client"] or {}
        texts = [*vendor.values(), *client.values(), one.truth["invoice_number"]]
        texts += [item["description"] for item in one.truth["line_items"]]
        for text in filter(None, texts):
            for part in text.split(", "):
                assert tight(part) in page, (part, one.template)
        shown = amounts(one)
        for key in ("subtotal", "discount", "grand_total"):
            if one.truth[key] is not None:
                digits = {Decimal(str(one.truth[key])).scaleb(n) for n in (0, 2, 3)}
                assert digits & shown or {-number for number in digits} & shown, (key, one.truth[key])


def test_nothing_else_stands_on_the_page() -> None:
    """As many lines are there as the truth has, and no value that it lacks."""
    for one in many():
        labels = [text.label for text in one.page.texts]
        items = [item for item in one.truth["line_items"] if item["total"] > 0]
        assert labels.count("LINE_TOTAL") == len(items)
        assert labels.count("QUANTITY") == sum(item["quantity"] is not None for item in items)
        assert labels.count("UNIT_PRICE") == sum(item["unit_price"] is not None for item in items)
        for label, key in (("SUBTOTAL", "subtotal"), ("TAX", "tax"), ("DATE", "date"), ("GRAND_TOTAL", "grand_total")):
            assert (label in labels) == (one.truth[key] is not None), (label, one.template)


def test_ink_stays_in_its_boxes() -> None:
    """What is drawn is where it was measured: outside the boxes, bands and rules there is bare paper."""
    for one in many()[:40]:
        pixels = np.asarray(draw(one.page)).copy()
        boxes = [text.box for text in one.page.texts]
        boxes += [box for box, _ in (*one.page.bands, *one.page.rules)]
        for x0, y0, x1, y1 in boxes:
            pixels[y0:y1, x0:x1] = one.page.paper
        assert (pixels == one.page.paper).all()


def test_photos_cut_nothing_off() -> None:
    """Tilted, seen from the side and cut at its margins: a frame around all that stands on the page is there whole."""
    for index, one in enumerate(many()[:24]):
        page = Image.new("RGB", (one.page.width, one.page.height), "white")
        x0, y0, x1, y1 = one.page.content
        ImageDraw.Draw(page).rectangle((x0, y0, x1 - 1, y1 - 1), outline=(255, 0, 0), width=3)
        photo = photograph(page, np.random.default_rng([1, index]), one.page.content)
        pixels = np.asarray(photo).astype(int)
        red = pixels[:, :, 0] - pixels[:, :, 1:].max(axis=2) > 60
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        assert 0 < rows[0] < rows[-1] < photo.height - 1
        assert 0 < columns[0] < columns[-1] < photo.width - 1


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
            draw(page)


def test_an_example_depends_on_its_seed_and_number_alone() -> None:
    """Laid out again, or alone, it is the same to the pixel; another seed or number gives another."""
    first, again = many()[7], laid_out(7)
    assert first.truth == again.truth
    assert draw(first.page).tobytes() == draw(again.page).tobytes()
    assert all(other.truth != first.truth for other in (laid_out(7, seed=1), laid_out(8)))


FACES = st.builds(
    Face,
    st.sampled_from((PlainFamily("mono"), PlainFamily("sans", typewriter=False), bundled()[0])),
    st.integers(9, 30),
    capitals=st.booleans(),
)
TEXTS = st.lists(st.text("abcWl.é", min_size=1, max_size=30), min_size=1, max_size=6).map(" ".join)


@given(TEXTS, FACES, st.integers(60, 400))
@settings(deadline=None)
def test_wrapping_loses_nothing(text: str, face: Face, width: int) -> None:
    """Lines joined again are the text, and each is as narrow as asked for."""
    lines = wrap(text, face, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(face.width(line) <= width for line in lines)


@given(st.lists(st.tuples(TEXTS, st.sampled_from("lcr"), st.floats(0, 1)), min_size=1, max_size=4), FACES)
@settings(deadline=None)
def test_cells_find_room(cells: list[tuple[str, str, float]], face: Face) -> None:
    """Whatever stands on a line, every letter of it is put, in its order, within the edges, and nothing touches."""
    page = Page(460, 100_000)
    placed = [Cell(((text, ""),), align, place) for text, align, place in cells]  # type: ignore[arg-type]
    page.put_line(placed, 20, face, 30, 430)
    page.check()
    wanted = "".join(face.shown(text) for text, _, _ in cells).replace(" ", "")
    assert "".join(text.text for text in page.texts).replace(" ", "") == wanted
    assert all(25 <= text.origin[0] <= text.box[2] <= 436 for text in page.texts)


def test_languages_without_a_font_are_named(tmp_path: Path) -> None:
    """Of all languages those without a font are left out; one that was asked for by name is an error that says so."""
    drawn, left_out = drawable((), (tmp_path,))
    assert set(drawn) == set(BUNDLED)
    assert set(left_out) == {"ja", "zh"}
    with pytest.raises(UserError, match="no font here has all letters of ja"):
        drawable(("en", "ja"), (tmp_path,))
    with pytest.raises(UserError, match="no language xx"):
        drawable(("xx",))


@pytest.mark.parametrize(("code", "currency"), [("ja", "JPY"), ("zh", "CNY")])
def test_a_font_of_the_folder_is_taken(tmp_path: Path, code: str, currency: str) -> None:
    """A font that has the letters makes a language drawable, and its documents are drawn with it."""
    builder = FontBuilder(1000, isTTF=True)
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for point in ((900, 0), (900, 800), (100, 800)):
        pen.lineTo(point)
    pen.closePath()
    names = [".notdef", "square"]
    builder.setupGlyphOrder(names)
    letters = (*range(32, 127), 0xA0, 0xA5, *range(0x3000, 0x3100), *range(0x4E00, 0xA000), *range(0xFF00, 0xFFEF))
    builder.setupCharacterMap(dict.fromkeys(letters, "square"))
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "squares.ttf")
    assert drawable((code,), (tmp_path,)) == ((code,), ())
    language = languages()[code]
    for index in range(12):
        one = lay_out_example(0, index, ALL, {language: fonts_of(language, (tmp_path,))})
        assert {text.face.family.name for text in one.page.texts} == {"squares"}
        assert one.truth["currency"] in (currency, None)
        assert currency != "JPY" or all(isinstance(item["total"], int) for item in one.truth["line_items"])


def alike(text: str) -> str:
    """Letters, digits and points, those that OCR cannot tell apart made one."""
    return re.sub(r"[^0-9a-z.]", "", text.lower()).translate(str.maketrans("lio", "110"))


def values(one: LaidOut) -> Iterator[str]:
    """What a reader must find: names, lines and amounts."""
    truth, digits = one.truth, minor_digits(one.document.currency)
    yield truth["vendor"]["name"]
    yield truth["invoice_number"] or ""
    yield f"{truth['grand_total']:.{digits}f}"
    for item in truth["line_items"]:
        yield item["description"]
        yield f"{item['total']:.{digits}f}"


def test_ocr_reads_the_truth_back() -> None:
    """A reader of images that knows nothing of us finds the names, the lines and every amount in the picture."""
    from rapidocr import RapidOCR

    reader = RapidOCR(params={"Global.log_level": "error"})
    wanted, missed = [], []
    for template in ("bistro", "thermal"):
        drawn = (laid_out(index, seed=11, templates=(template,), codes=("en",)) for index in range(100))
        one = next(one for one in drawn if 4 <= len(one.document.items) <= 8)
        result = reader(np.asarray(draw(one.page))[:, :, ::-1])
        read = alike("".join(result.txts or ()))
        wanted += [value for value in values(one) if value]
        missed += [value for value in values(one) if value and alike(value) not in read]
    assert len(wanted) >= 15
    assert len(missed) <= len(wanted) * 0.05, missed
