"""Totals that were labelled with doubt, or not at all: what lines and other amounts say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import gather
from receipt_trainer.extraction.summary import Reading, read_receipt
from receipt_trainer.extraction.totals import OTHER, PAYABLE, TOTAL, places
from tests.extraction.receipts import confidence, words


def read(text: str, **scores: float) -> Reading:
    """Labelled words with .95, or the score that is given for their text; others are surely none."""
    given = [replace(word, score=scores.get(f"of_{word.text.replace('.', '_')}", word.score)) for word in words(text)]
    return read_receipt(given, gather(given), confidence)


def named(line: str) -> float:
    """What a line says of its amount."""
    given: list[ReadWord] = words(f"{line} 8.40")
    return places(given, gather(given))[-1].said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        *(
            (line, PAYABLE)
            for line in ("Amount due", "GRAND TOTAL:", "Zu zahlen EUR", "NET A PAYER", "Totale complessivo")
        ),
        *((line, PAYABLE) for line in ("Total a pagar", "Te betalen", "TOTAL AFTER ROUNDING", "Gesamtbetrag")),
        *((line, TOTAL) for line in ("Total", "Totaal", "Summe", "NET TOTAL", "TOTAL (INCL. GST)", "Total incl. VAT")),
        *(
            (line, OTHER)
            for line in ("Subtotal", "Zwischensumme", "Sous-total", "Total tax", "Total excl. VAT", "TOTAL QTY")
        ),
        *((line, OTHER) for line in ("Total savings", "Netto", "Cash", "Change due", "Rückgeld", "VISA", "Total paid")),
        ("Bread", 0.0),
    ],
)
def test_names_of_amounts(line: str, said: float) -> None:
    """What is to be paid, a plain total, and what is none, in several languages."""
    assert named(line) == said


def test_a_table_of_taxes_is_no_total() -> None:
    """The base in a line that says total and has the tax beside it gives way to the amount that both add up to."""
    found = read("Total sales incl. GST 101.76\nSR 6% 96.00 5.76\nTOTAL G:96.00 5.76", of_96_00=0.8, of_101_76=0.6)
    assert found.summary["total"] == "101.76"
    assert "low_confidence" in [code for code, _ in found.review]


def test_what_was_paid_and_the_change() -> None:
    """Where no line says total, money less change does; a sum that is not there is not invented."""
    paid = "Tea 28.70\nEgg 1.80\nSubtotal 30.50\nCash 50.00\nChange 19.50"
    assert read(paid).summary["total"] == "30.50"
    assert read(paid.replace("19.50", "18.00")).summary["total"] is None


def test_a_total_that_is_rounded_to_coins() -> None:
    """Of a labelled total and one that nobody labelled, five cents apart at most, the round one is to be paid, on a
    receipt that speaks of rounding alone."""
    text = "Total sales G:13.58\n{} 0.02\n{} 13.60\nCash 20.00"
    assert read(text.format("Rounding", "Rounding")).summary["total"] == "13.60"
    assert read(text.format("Stamp", "Next")).summary["total"] == "13.58"


def test_a_name_above_its_amount() -> None:
    """An amount that has a line to itself is what the line above says."""
    assert read("TOTAL AMOUNT PAYABLE\nRM 50.00\nCash RM 60.00").summary["total"] == "50.00"
    assert read("Subtotal\nRM 50.00").summary["total"] is None


def test_a_sure_label_stays() -> None:
    """All that speaks for another amount does not outweigh a label that the model is sure of."""
    text = "Amount due 9.00\nCash 10.00\nChange 1.00\nParking G:8.40"
    assert read(text, of_8_40=0.99).summary["total"] == "8.40"
    assert read(text, of_8_40=0.6).summary["total"] == "9.00"
