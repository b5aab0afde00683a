"""Drawn documents: their truth is exactly what stands in the image, whoever draws them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from receipt_trainer.data.amount_checks import arithmetic_problems, minor_digits
from receipt_trainer.data.document import check
from receipt_trainer.models.paddleocr_vl.synthetic.draw import Drawn
from receipt_trainer.models.paddleocr_vl.synthetic.fonts import Face, bundled
from receipt_trainer.models.paddleocr_vl.synthetic.page import LayoutFaultError, Page
from tests.models.paddleocr_vl.drawn import ALL, BUNDLED, draw, many

MONEY = re.compile(r"-?\d[\d.,\u00a0]*")


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
