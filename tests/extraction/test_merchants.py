"""Where a merchant's name begins and ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from receipt_trainer.extraction.finds import field_runs, gather
from receipt_trainer.extraction.summary import Reading, read_receipt
from tests.extraction.receipts import confidence, words


def names(text: str) -> list[str]:
    """The names in lines that are all labelled as the merchant's."""
    given = words("\n".join(" ".join(f"N:{word}" for word in line.split()) for line in text.split(" / ")))
    return [" ".join(word.text for word in run) for _, run in field_runs(given)]


def read(text: str, scores: dict[str, float]) -> Reading:
    """Labelled words with .95, or the score of their text."""
    given = [replace(word, score=scores.get(word.text, word.score)) for word in words(text)]
    return read_receipt(given, gather(given), confidence)


@pytest.mark.parametrize(
    "text",
    [
        "Best Burger | Smith Foods Ltd",
        "Smith Foods Ltd | City Mall",
        "Backstube | Müller und Sohn GmbH & Co. KG | Filiale Nord",
        "Chez Nous | Dupont Frères S.A.R.L.",
        "MYDIN | TRI SHAAS SDN BHD | MYDIN MART",
        "Popular Book / Co. (M) Sdn Bhd",
        "Aik Huat Hardware / Enterprise (Setia / Alam) Sdn Bhd",
        "Home Master Hardware & / Electrical Goods Ltd",
        "Checkers Hypermarket Ltd / (Main Street)",
        "Nando's Chickenland / Sdn Bhd",
        "The Roti / Man / Bakery",
    ],
)
def test_a_company_ends_a_name(text: str) -> None:
    """A legal form ends a name and a whole company begins one (`|`), else lines go on (`/`)."""
    assert names(text.replace("|", "/")) == [name.replace(" / ", " ") for name in text.split(" | ")]


def test_the_company_beside_a_brand() -> None:
    """Of a brand and its company in the next line the company is the merchant, not one further down (a customer)."""
    found = read("N:Kiku N:Fine N:Sushi N:Bar\nN:Foo N:Kitchen N:Ltd\nD:25/12/2018\nG:8.40", {})
    assert found.summary["merchant"] == "Foo Kitchen Ltd"
    assert [find.value for find in found.fields["MERCHANT_NAME"]] == ["Foo Kitchen Ltd", "Kiku Fine Sushi Bar"]
    customer = read("N:Kiku N:Fine N:Sushi N:Bar\nTo:\nN:Foo N:Kitchen N:Ltd\nG:8.40", {})
    assert customer.summary["merchant"] == "Kiku Fine Sushi Bar"


def test_unsure_words_before_a_name_and_unsure_lines_in_it() -> None:
    """Words that the model doubts, between a line's beginning and a name, or a line between two, are the name's."""
    assert (
        read("One Three N:Seafood N:House", {"One": 0.9, "Three": 0.6}).summary["merchant"] == "One Three Seafood House"
    )
    assert read("Owner: N:Seafood N:House", {"Owner:": 0.6}).summary["merchant"] == "Seafood House"
    lines = "N:Aik N:Huat\nHardware Store\nN:of N:Leeds"
    assert read(lines, {"Hardware": 0.6, "Store": 0.6}).summary["merchant"] == "Aik Huat Hardware Store of Leeds"
    assert read(lines, {}).summary["merchant"] != "Aik Huat Hardware Store of Leeds"


def test_a_merchant_that_was_not_labelled() -> None:
    """The line of the header that the model doubts most is taken, told as unsure; none where it is sure of all."""
    text = "TAX INVOICE\nYam Fresh\nA:Main A:Road\nThanks"
    found = read(text, {"Yam": 0.7, "Fresh": 0.8, "TAX": 0.5, "Thanks": 0.3})
    assert found.summary["merchant"] == "Yam Fresh"
    assert ("low_confidence", "MERCHANT_NAME is right with a probability of 0.15 only") in found.review
    assert read(text, {}).summary["merchant"] is None
