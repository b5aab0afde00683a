"""Letters, amounts and dates of drawn documents."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.synthetic.draw import draw_example
from receipt_trainer.models.paddleocr_vl.synthetic.fonts import Face, bundled
from receipt_trainer.models.paddleocr_vl.synthetic.languages import LANGUAGES, drawable, fonts_of
from receipt_trainer.models.paddleocr_vl.synthetic.money import Money, date_text
from receipt_trainer.models.paddleocr_vl.synthetic.page import wrap
from tests.models.paddleocr_vl.drawn import ALL, BUNDLED


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
