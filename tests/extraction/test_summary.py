"""One value of each field, chosen from all finds; what is not clear is null and told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import amount_marks, gather
from receipt_trainer.extraction.known import known_of, make_known
from receipt_trainer.extraction.summary import Reading, read_receipt
from tests.extraction.receipts import confidence, words

WHOLE = """
N:Big N:Shop
N:Ltd N:(123456-X)
A:7 A:Main A:Road
A:Leeds
Tel F:(0113)4960000
D:25/12/2018 H:7:51pm
Q:2 P:Bread U:1.50 T:3.00
P:Butter T:4.00
Sub S:7.00
VAT X:1.40
TOTAL G:£8.40
Cash 10.00
"""


def read(given: list[ReadWord], **options: Any) -> Reading:
    known = options.pop("known", None)
    return read_receipt(given, gather(given, **options), confidence, known)


def codes(reading: Reading) -> list[str]:
    return [code for code, _ in reading.review]


def test_a_whole_receipt() -> None:
    """Names over several lines, money, dates, times, phones, rows and sums, each with its value."""
    found = read(words(WHOLE))
    assert found.summary == {
        "merchant": "Big Shop Ltd",
        "date": "2018-12-25",
        "total": "8.40",
        "currency": "GBP",
        "subtotal": "7.00",
        "tax": "1.40",
    }
    assert [find.value for find in found.fields["ADDRESS_LINE"]] == ["7 Main Road Leeds"]
    assert [find.value for find in found.fields["PHONE_NUMBER"]] == ["01134960000"]
    assert [find.value for find in found.fields["TIME"]] == ["19:51"]
    assert [{name: find.value for name, find in item.finds.items()} for item in found.items] == [
        {
            "description": "Bread",
            "quantity": "2",
            "unit_price": {"amount": "1.50", "currency": "GBP"},
            "total": {"amount": "3.00", "currency": "GBP"},
        },
        {"description": "Butter", "total": {"amount": "4.00", "currency": "GBP"}},
    ]
    assert found.checks == {
        "items_sum_to_subtotal": True,
        "items_sum_to_total": True,
        "subtotal_plus_tax_is_total": True,
        "tax_included": False,
    }
    assert codes(found) == []


def test_a_sum_decides_between_totals() -> None:
    """The total that the other amounts add up to wins over one that is read with more confidence."""
    given = words("N:Shop\nD:25/12/2018\nP:Tea T:7.00\nS:7.00\nX:1.40\nG:8.40\nG:10.00")
    given[-1] = ReadWord(*(*[getattr(given[-1], n) for n in ("number", "text", "box", "line", "label")], 0.999))
    found = read(given)
    assert found.summary["total"] == "8.40"
    assert len(found.fields["GRAND_TOTAL"]) == 2


def test_tax_in_the_prices() -> None:
    """A total that is the subtotal although there is a tax, and sums that do not hold."""
    inside = read(words("N:S\nD:25/12/2018\nP:Tea T:7.00\nP:Egg T:3.00\nS:10.00\nX:1.40\nG:10.00"))
    assert (inside.checks["tax_included"], inside.checks["subtotal_plus_tax_is_total"]) == (True, None)
    wrong = read(words("N:S\nD:25/12/2018\nS:10.00\nX:1.40\nG:12.00"))
    assert wrong.checks["subtotal_plus_tax_is_total"] is False
    assert "check_failed" in codes(wrong)
    service = read(words("N:S\nD:25/12/2018\nS:10.00\nService 0.60\nX:1.40\nG:12.00"))
    assert service.checks["subtotal_plus_tax_is_total"] is None


def test_what_may_mean_several_values() -> None:
    """A date of two readings and an amount with one mark are null, with both values, and are to be looked at."""
    found = read(words("N:Shop\nD:06/03/2018\nG:1.234"))
    assert (found.summary["date"], found.summary["total"]) == (None, None)
    assert found.fields["DATE"][0].ambiguous == ("2018-03-06", "2018-06-03")
    assert [one["amount"] for one in found.fields["GRAND_TOTAL"][0].ambiguous] == ["1.234", "1234"]
    assert "ambiguous_value" in codes(found)
    decided = read(words("N:Shop\nD:06/03/2018\nG:1.234"), learned={"dmy": 50}, marks={".thousands": 20})
    assert (decided.summary["date"], decided.summary["total"]) == ("2018-03-06", "1234")
    proved = read(words("N:Shop\nD:06/03/2018\nissued 25/02/2018\nP:Tea T:0.50\nG:1.234"))
    assert (proved.summary["date"], proved.summary["total"]) == ("2018-03-06", "1.234")


def test_sums_prove_the_decimal_sign() -> None:
    """`7,273 + 727 = 8,000` has no decimals; `10.00 %` is no amount that proves a sign."""
    found = read(words("N:Shop\nD:25/12/2018\nS:7.273\nTAX 10.00 %\nX:727\nG:8.000"))
    assert found.summary["total"] == "8000"


def test_nothing_found() -> None:
    """No total, no date, no merchant: each is told; with merged amounts, why."""
    assert codes(read(words("Hello world"))) == ["no_merchant", "no_date", "no_total"]
    merged = [ReadWord(0, "5.00", (0, 0, 1, 1), 0, "AMOUNT", 0.9)]
    assert "merged_amounts" in codes(read(merged))


def test_misread_characters() -> None:
    """A letter for a digit, a lost point and a look-alike digit are put right where sums say so, and told."""
    head = "N:Shop\nD:25/12/2018\nP:Tea T:70.00\nP:Egg T:5.00\n"
    for total in ("G:75,O0", "G:7500", "G:15.00"):
        found = read(words(head + total, reading=0.9))
        assert found.summary["total"] == "75.00", total
        assert found.fields["GRAND_TOTAL"][0].repaired_from == total[2:]
        assert "repaired" in codes(found)
    assert read(words(head + "G:15.00")).summary["total"] == "15.00"  # nobody read it, so nobody misread it
    assert read(words(head + "G:82.50", reading=0.9)).summary["total"] == "82.50"


def test_known_merchants() -> None:
    """A misspelt merchant or address becomes the known one, told; one whose digits differ is another."""
    known = make_known(["POPULAR BOOK CO. (M) SDN BHD"], ["12 JALAN TAMPOI 7/4, JOHOR BAHRU"])
    text = "N:POPULAR N:BOOK N:CP. N:(M) N:SDN N:BHD\nA:{} A:JALAN A:TAMPOL A:7/4 A:JOHOR A:BAHRU\nD:25/12/2018\nG:5.00"
    found = read(words(text.format("12")), known=known)
    assert found.summary["merchant"] == "POPULAR BOOK CO. (M) SDN BHD"
    assert found.fields["MERCHANT_NAME"][0].repaired_from == "POPULAR BOOK CP. (M) SDN BHD"
    assert found.fields["ADDRESS_LINE"][0].value == "12 JALAN TAMPOI 7/4, JOHOR BAHRU"
    other = read(words(text.format("14")), known=known)
    assert other.fields["ADDRESS_LINE"][0].value == "14 JALAN TAMPOL 7/4 JOHOR BAHRU"


def test_an_unsure_word_inside_a_name() -> None:
    """A word of no label between two of a name belongs to it if the model is not sure of it."""
    given = words("N:Big of N:Leeds\nG:5.00", score=0.6)
    assert read(given).summary["merchant"] == "Big of Leeds"
    assert read(words("N:Big of N:Leeds\nG:5.00")).fields["MERCHANT_NAME"][0].value in ("Big", "Big Leeds")


def receipt(name: str, *parts: tuple[str, str]) -> Receipt:
    box = (0.1, 0.1, 0.2, 0.2)
    found = [Word(text, box, line, (WordLabel(label),)) for line, (text, label) in enumerate(parts)]
    return Receipt(name, 1, tuple(found), name)


def test_what_a_model_learns_of_its_receipts() -> None:
    """Marks count where they are clear; a merchant is known if it stands in two receipts, by its commonest spelling."""
    one = receipt("a", ("Big Shop", "MERCHANT_NAME"), ("Rp 7.000", "LINE_TOTAL"), ("9.000", "GRAND_TOTAL"))
    two = receipt("b", ("BIG SHOP", "MERCHANT_NAME"), ("1.234", "GRAND_TOTAL"))
    three = receipt("c", ("BIG SHOP", "MERCHANT_NAME"), ("Other Shop", "ADDRESS_LINE"))
    assert amount_marks([one, two]) == {".thousands": 2}
    assert known_of([one, two, three]) == {"merchants": ["BIG SHOP"], "addresses": []}


def test_totals_that_others_make() -> None:
    """A base and its tax, whatever they were read as, and rounding to coins decide between totals; change does not."""
    assert read(words("N:S\nD:25/12/2018\nG:159.55\nG:12.92\nG:172.47")).summary["total"] == "172.47"
    assert read(words("N:S\nD:25/12/2018\nG:28.49\nROUNDING 0.01\nG:28.50")).summary["total"] == "28.50"
    paid = words("N:S\nD:25/12/2018\nG:30.00\nG:50.00\nG:20.00")
    paid[2] = ReadWord(*(*[getattr(paid[2], n) for n in ("number", "text", "box", "line", "label")], 0.99))
    assert read(paid).summary["total"] == "30.00"


def test_values_without_a_label() -> None:
    """Where no total or date was labelled, one that the receipt's words or sums show is taken, as unsure."""
    found = read(
        words("N:Shop\nIssued 25/12/2018\nP:Tea T:7.00\nP:Egg T:2.65\nSUB TOTAL 9.00\nTOTAL RM9.65\nCash 10.00")
    )
    assert (found.summary["total"], found.summary["date"]) == ("9.65", "2018-12-25")
    assert codes(found).count("low_confidence") == 2
    two = read(words("N:Shop\n25/12/2018\n26/12/2018\n9.65"))
    assert (two.summary["total"], two.summary["date"]) == (None, None)


def test_sdn_bhd_is_no_currency() -> None:
    """Bahrain's dinars are not in the name of a Malaysian company."""
    assert read(words("N:Shop N:SDN N:BHD\nG:9.65")).summary["currency"] is None


def test_a_line_that_says_total_stands_against_a_total_that_is_hardly_one() -> None:
    """Against a labelled total of little confidence counts the line that says total and has one amount; with the tax
    included it is a total, what it includes of the tax is none; a sure label stays."""
    rows = """
SUBTOTAL 95.17
TOTAL (INCLUSIVE OF GST) : 100.90
TOTAL INCLUDED GST : 5.71
TOTAL 95.17 G:5.71
"""
    unsure = [replace(word, score=0.3) if word.label != "O" else word for word in words(rows)]
    assert read(unsure).summary["total"] == "100.90"
    assert read(words(rows)).summary["total"] == "5.71"


def test_a_digit_of_a_date_that_ocr_confuses() -> None:
    """A text that OCR read and that is no date is one where a single digit that OCR confuses makes it one, and says
    so; where nobody read it, or several days come of it, it stays open."""
    for text, day in {"15/81/2018": "2018-01-15", "14/03/2618": "2018-03-14", "39/09/2018": None}.items():
        found = read(words(f"D:{text}", reading=0.9), date_order="dmy")
        assert found.summary["date"] == day
        assert ("repaired" in codes(found)) == (day is not None)
    assert read(words("D:15/81/2018"), date_order="dmy").summary["date"] is None


def test_a_date_of_which_one_word_was_labelled() -> None:
    """The day, month and year around a labelled word are its date, as unsure; one line with a labelled word counts
    before other days of the receipt, two such days leave it open."""
    found = read(words("N:Shop\nD:05 MAY 2018 18:21\nexpires 01/01/2020\nG:9.65"))
    assert found.summary["date"] == "2018-05-05"
    assert "low_confidence" in codes(found)
    assert read(words("N:Shop\n05 MAY 2018 18:21\nG:9.65")).summary["date"] == "2018-05-05"
    assert read(words("N:Shop\nD:05 MAY 2018\nD:06 MAY 2018\nG:9.65")).summary["date"] is None
