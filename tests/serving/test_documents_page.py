"""The page of a model that writes documents, in headless Chromium: a form beside the photo, saved as training lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from receipt_trainer.data.document_set import read_examples
from tests.inference.chat_server import chat_server, says
from tests.pages.pdfs import pdf_of_pages
from tests.serving.browser import CHROMIUM, chromium, opened, served
from tests.serving.test_documents import app_of
from tests.serving.test_page import PHONE, PHOTO, assert_accessible, box_of

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium fonts-dejavu-core")

TEA, EGGS = (
    {"description": name, "quantity": 2, "unit_price": price, "total": 2 * price}
    for name, price in (("Tea", 1.25), ("Eggs", 3))
)
WHOLE: dict[str, Any] = {
    "document_type": "invoice",
    "vendor": {"name": "Corner <b>Shop</b>", "address": "1 Mill Road", "tax_id": "GB 1", "phone": "01223 555"},
    "client": {"name": "Ann", "address": "2 Hill", "tax_id": "GB 2"},
    "invoice_number": "A-7",
    "date": "2026-11-27",
    "due_date": "2026-12-27",
    "currency": "GBP",
    "line_items": [TEA, EGGS],
    "subtotal": 8.5,
    "tax": 1.7,
    "tax_rate": 20,
    "discount": 0.2,
    "grand_total": 10,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def behind() -> Iterator[Any]:
    with chat_server() as running:
        yield running


@pytest.fixture
def site(behind: Any, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The page's URL, and the file of its corrections."""
    with served(app_of(behind, tmp_path / "kept.jsonl")) as url:
        yield url, tmp_path / "kept.jsonl"


def read_photo(page: Page, behind: Any, said: Any, file: Any = PHOTO) -> None:
    behind.script[:] = [says(said)]
    page.set_input_files("#file", file)
    expect(page.locator("#panel")).to_be_visible()


def saved(file: Path) -> list[Any]:
    return [json.loads(example.output) for example in read_examples(file)]


def test_a_document_is_corrected_and_saved(browser: Browser, behind: Any, site: tuple[str, Path]) -> None:
    """Fields and rows are put right by keyboard; what is no number is said and not sent; undo goes back; what is saved
    is the training line, and every other value is as the model wrote it."""
    url, file = site
    with opened(browser, url) as page:
        expect(page.locator("#offer")).to_contain_text("A photo or a PDF.")
        read_photo(page, behind, WHOLE | {"grand_total": 99})
        expect(page.locator("#sheets img")).to_be_visible()
        expect(page.locator(".note")).to_contain_text("Total: subtotal 8.5")
        expect(page.get_by_label("Merchant")).to_have_value("Corner <b>Shop</b>")
        assert_accessible(page)
        total = page.locator(".form").first.get_by_label("Total", exact=True)
        total.fill("ten")
        expect(total).to_have_attribute("aria-invalid", "true")
        page.keyboard.press("Control+s")
        expect(page.locator("#message")).to_contain_text("Total is “ten”: write a number such as 12.50")
        expect(total).to_be_focused()
        total.fill("10,0")
        page.get_by_label("Merchant").focus()
        page.keyboard.press("End")
        page.keyboard.type(" no 19")
        page.get_by_role("button", name="Remove item 1").click()
        page.get_by_role("button", name="Add an item").click()
        page.keyboard.type("Milk")
        page.keyboard.press("Tab")
        page.keyboard.type("2")
        expect(page.get_by_role("group", name="Item 2").get_by_label("Quantity")).to_have_value("2")
        page.get_by_label("Invoice number").fill("wrong")
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_label("Invoice number")).to_have_value("A-7")
        page.get_by_role("button", name="Save corrections").click()
        expect(page.locator("#saved")).to_contain_text("1 page with what it says")
        expect(page.get_by_role("button", name="Confirmed")).to_be_disabled()
        milk = {"description": "Milk", "quantity": 2, "unit_price": None, "total": None}
        vendor = WHOLE["vendor"] | {"name": "Corner <b>Shop</b> no 19"}
        assert saved(file) == [WHOLE | {"vendor": vendor, "line_items": [EGGS, milk], "grand_total": 10}]


def test_what_is_right_is_saved_as_it_is(browser: Browser, behind: Any, site: tuple[str, Path]) -> None:
    """Enter saves what the model wrote, every field of it; an answer that is no JSON is an empty form to fill in."""
    url, file = site
    with opened(browser, url) as page:
        read_photo(page, behind, WHOLE)
        page.keyboard.press("Enter")
        expect(page.locator("#saved")).to_contain_text("Saved")
        assert saved(file) == [WHOLE]
        page.reload()
        read_photo(page, behind, "I cannot read this.")
        expect(page.locator(".note")).to_contain_text("The answer is not a JSON object")
        page.get_by_label("Merchant").fill("Acme")
        page.keyboard.press("Control+s")
        expect(page.locator("#saved")).to_contain_text("Saved")
        (one,) = saved(file)
        assert (one["vendor"]["name"], one["client"], one["line_items"], one["date"]) == ("Acme", None, [], None)


def test_a_pdf_on_a_phone(browser: Browser, behind: Any, site: tuple[str, Path]) -> None:
    """Nothing is wider than 390 pixels, every page of a PDF is shown and has its form, each is saved as a line."""
    url, file = site
    with opened(browser, url, **PHONE) as page:
        pdf = {"name": "two.pdf", "mimeType": "application/pdf", "buffer": pdf_of_pages([(200, 300), (200, 300)])}
        read_photo(page, behind, WHOLE, pdf)
        expect(page.locator("#sheets img")).to_have_count(2)
        page.wait_for_function("() => [...document.images].every((one) => one.complete && one.naturalWidth > 0)")
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        expect(page.get_by_role("heading", name="Summary of page 2")).to_be_visible()
        for field in page.locator("#fields input").all():
            assert box_of(field)["x"] + box_of(field)["width"] <= 390
        page.get_by_label("Merchant").last.fill("Other")
        page.get_by_role("button", name="Save corrections").tap()
        expect(page.locator("#saved")).to_contain_text("2 pages")
        assert [one["vendor"]["name"] for one in saved(file)] == [WHOLE["vendor"]["name"], "Other"]
