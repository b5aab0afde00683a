"""The page in headless Chromium, on the real server: read, correct, save, and what comes back from where it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, CDPSession, FileChooser, FilePayload, FloatRect, Locator, Page, Route, expect

from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.dynamodb.read import read_all
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate
from receipt_trainer.serving.access import Access, new_token
from receipt_trainer.serving.app import create_app
from receipt_trainer.serving.corrections import FileCorrections
from receipt_trainer.serving.holder import Holder
from receipt_trainer.serving.review import ReviewQueue, queue_of_file
from receipt_trainer.serving.table_corrections import TableCorrections
from tests.serving.browser import CHROMIUM, PATIENCE_MS, PATIENT, chromium, opened, served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium fonts-dejavu-core")

PHOTO = Path(__file__).parents[2] / "docs" / "receipt.jpg"
HOSTILE = "<img src=x onerror=window.broken=1>"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


class Site:
    """A served page, and the file that its corrections go to."""

    def __init__(self, url: str, corrections: Path) -> None:
        self.url, self.corrections = url, corrections

    def saved(self) -> list[Receipt]:
        """The receipts in the file, each as it was saved last."""
        by_key = {receipt.key: receipt for receipt in read_jsonl(self.corrections, ProblemLog())}
        return list(by_key.values())


@pytest.fixture(scope="module")
def site(holder: Holder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    path = tmp_path_factory.mktemp("corrections") / "corrections.jsonl"
    with served(create_app(holder, corrections=FileCorrections(path), limits=PATIENT)) as url:
        yield Site(url, path)


def words_file(name: str, lines: list[str]) -> FilePayload:
    """A JSON file of words in even lines, as the browser hands it over."""
    words = [
        {"text": text, "box": [40 + 180 * column, 40 + 60 * row, 190 + 180 * column, 76 + 60 * row]}
        for row, line in enumerate(lines)
        for column, text in enumerate(line.split("|"))
    ]
    record = {"id": name, "width": 600, "height": 400, "words": words}
    return {"name": f"{name}.json", "mimeType": "application/json", "buffer": json.dumps(record).encode()}


LINES = ["ACME|STORES|LTD", "2026-11-27", "TOTAL|12.50"]


def read_words(page: Page, name: str, lines: list[str] = LINES) -> None:
    page.set_input_files("#file", words_file(name, lines))
    expect(page.locator("#file-name")).to_have_text(f"{name}.json")


def word(page: Page, text: str) -> Locator:
    return page.get_by_role("option", name=f"{text}, ").first


def box_of(element: Locator) -> FloatRect:
    box = element.bounding_box()
    assert box is not None
    return box


def labels_of(receipt: Receipt) -> dict[str, str | None]:
    """The label that the next training takes of each word."""
    return {one.text: one.valid_label() for one in receipt.words}


def saved_as(site: Site, name: str) -> Receipt:
    (found,) = (receipt for receipt in site.saved() if receipt.name == name)
    return found


def assert_accessible(page: Page) -> None:
    """Axe finds nothing in light and in dark, each looked at once its colours have settled."""
    page.emulate_media(reduced_motion="reduce")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page).response["violations"]
        assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []


def test_a_photo_is_corrected_and_saved(browser: Browser, site: Site) -> None:
    """A photo is shown with its words framed; a label and a text of a person come back from the file as saved."""
    with opened(browser, site.url) as page:
        assert_accessible(page)
        page.set_input_files("#file", PHOTO)
        expect(page.locator("#sheets img")).to_be_visible()
        page.wait_for_function("() => document.querySelector('#sheets img').naturalWidth > 0")
        first = page.get_by_role("option").first
        text = str(page.evaluate("document.querySelector('.word').textContent"))
        first.click()
        page.get_by_role("button", name="Total", exact=True).click()
        page.get_by_label("Text ·").fill("CORRECTED")
        page.get_by_label("Text ·").press("Enter")
        expect(first).to_have_accessible_name("CORRECTED, label Total, checked by you")
        assert_accessible(page)
        page.get_by_role("button", name="Save corrections").click()
        expect(page.locator("#saved")).to_contain_text("1 word that you corrected")
        (receipt,) = [one for one in site.saved() if any(w.text == "CORRECTED" for w in one.words)]
        (corrected,) = (one for one in receipt.words if one.text == "CORRECTED")
        assert corrected.valid_label() == "GRAND_TOTAL"
        assert corrected.extra["original_text"] == text
        assert (receipt.review and receipt.review.confirmed) is False
        frame, box = box_of(page.locator(".sheet")), box_of(first)
        assert frame["x"] <= box["x"]
        assert box["x"] + box["width"] <= frame["x"] + frame["width"]


def test_words_are_selected_by_dragging_and_changes_undone(browser: Browser, site: Site) -> None:
    """A drag takes the words under it; undo and redo go through the steps; a whole receipt is confirmed as such."""
    with opened(browser, site.url) as page:
        read_words(page, "dragged")
        first, last = box_of(word(page, "ACME")), box_of(word(page, "LTD"))
        page.mouse.move(first["x"] - 8, first["y"] + 3)
        page.mouse.down()
        page.mouse.move(last["x"] + 9, last["y"] + 12, steps=5)
        page.mouse.up()
        expect(page.locator("#text-label")).to_have_text("3 words")
        page.keyboard.press("1")
        expect(page.locator("#fields .row").first).to_contain_text("ACME STORES LTD")
        page.keyboard.press("3")
        page.keyboard.press("Control+z")
        expect(word(page, "STORES")).to_have_accessible_name("STORES, label Merchant, checked by you")
        page.keyboard.press("Control+y")
        expect(word(page, "STORES")).to_have_accessible_name("STORES, label Total, checked by you")
        page.get_by_role("button", name="Undo").click()
        page.get_by_role("button", name="All else is right").click()
        expect(page.locator("#saved")).to_contain_text("all 6 words confirmed")
        receipt = saved_as(site, "dragged")
        assert (receipt.review and receipt.review.confirmed) is True
        assert [labels_of(receipt)[text] for text in ("ACME", "STORES", "LTD")] == ["MERCHANT_NAME"] * 3


def test_fields_follow_a_correction(browser: Browser, site: Site) -> None:
    """What a person labels or writes is a value of its field, and undone it is none; where the server cannot be asked,
    what stands there is said to be old."""
    with opened(browser, site.url) as page:
        read_words(page, "followed", ["27/11/2026|Thanks"])
        fields = page.locator("#fields")
        word(page, "27/11/2026").click()
        page.get_by_role("button", name="Date", exact=True).click()
        expect(fields).to_contain_text("2026-11-27")
        page.keyboard.press("e")
        page.keyboard.type("28/11/2026")
        page.keyboard.press("Enter")
        expect(fields).to_contain_text("2026-11-28")
        page.keyboard.press("Control+z")
        expect(fields).to_contain_text("2026-11-27")
        page.context.set_offline(True)
        page.keyboard.press("0")
        expect(fields).to_contain_text("from before your last corrections")
        page.context.set_offline(False)
        page.keyboard.press("Control+z")
        expect(fields).not_to_contain_text("from before your last corrections")


def test_a_file_that_is_chosen_at_once_waits_for_what_the_server_is(browser: Browser, site: Site) -> None:
    """Read while the page does not know the labels yet, a receipt could not be corrected: it is read after that."""
    with opened(browser, site.url) as page:
        held: list[Route] = []
        page.route("**/v1/model", lambda route: held.append(route))
        page.reload()
        wait_until(lambda: bool(held), page)
        page.set_input_files("#file", words_file("early", LINES))
        expect(page.locator("#reading")).to_be_visible()
        held[0].continue_()
        word(page, "ACME").click()
        page.keyboard.press("1")
        expect(word(page, "ACME")).to_have_accessible_name("ACME, label Merchant, checked by you")


def test_hostile_words_stay_text(browser: Browser, site: Site) -> None:
    """Words that are markup are drawn as they are, in the picture, the fields and the editor, and run nothing."""
    with opened(browser, site.url) as page:
        read_words(page, "hostile", [f"{HOSTILE}|{HOSTILE}", "<script>window.broken=1</script>"])
        page.keyboard.press("Home")
        page.keyboard.press("Shift+End")
        page.keyboard.press("1")
        expect(page.locator("#fields")).to_contain_text(HOSTILE)
        expect(page.locator(".word").first).to_have_text(HOSTILE)
        assert page.evaluate("window.broken") is None
        assert page.locator("#sheets img, #fields img, main script").count() == 0


def test_everything_is_done_by_keyboard(browser: Browser, site: Site) -> None:
    """Without a mouse: choose a file, walk from word to word, label, edit, undo, save."""
    with opened(browser, site.url) as page:
        choosers: list[FileChooser] = []
        page.on("filechooser", lambda chooser: choosers.append(chooser))
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the receipt")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Choose a file")).to_be_focused()
        page.keyboard.press("Enter")
        wait_until(lambda: bool(choosers), page)
        choosers[0].set_files(words_file("keyed", LINES))
        expect(page.locator("#file-name")).to_have_text("keyed.json")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Home")
        expect(word(page, "ACME")).to_be_focused()
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("1")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        expect(word(page, "TOTAL")).to_be_focused()
        page.keyboard.press("Delete")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("3")
        page.keyboard.press("e")
        page.keyboard.type("12.60")
        page.keyboard.press("Enter")
        expect(word(page, "12.60")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#saved")).to_contain_text("confirmed")
        found = labels_of(saved_as(site, "keyed"))
        assert (found["ACME"], found["STORES"], found["12.60"]) == ("MERCHANT_NAME", "MERCHANT_NAME", "GRAND_TOTAL")
        assert found["TOTAL"] in (None, "O")


def test_a_phone_shows_and_corrects_everything(browser: Browser, site: Site) -> None:
    """At 390 pixels nothing is wider than the page; a tap selects, a resting finger drags, the buttons are in sight."""
    with opened(browser, site.url, **PHONE) as page:
        expect(page.get_by_role("button", name="Take a photo")).to_be_visible()
        read_words(page, "tapped")
        word(page, "12.50").tap()
        page.get_by_role("button", name="Total", exact=True).tap()
        expect(word(page, "12.50")).to_have_accessible_name("12.50, label Total, checked by you")
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        for name in ("Save corrections", "All else is right"):
            box = box_of(page.get_by_role("button", name=name))
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
            assert box["y"] + box["height"] <= 844
        first, last = box_of(word(page, "ACME")), box_of(word(page, "LTD"))
        hand = page.context.new_cdp_session(page)
        touch(hand, "touchStart", first)
        expect(page.locator(".marquee")).to_be_attached()
        touch(hand, "touchMove", last)
        hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(page.locator("#text-label")).to_have_text("3 words")


def wait_until(holds: Callable[[], bool], page: Page) -> None:
    """Let the page go on until something holds."""
    while not holds():
        page.wait_for_timeout(20)


def touch(hand: CDPSession, kind: str, box: FloatRect) -> None:
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})


def test_what_fails_is_one_line_and_nothing_is_lost(browser: Browser, site: Site) -> None:
    """A refused photo leaves the receipt that is open; a save without a server says so, and goes through later."""
    with opened(browser, site.url) as page:
        read_words(page, "kept")
        page.set_input_files("#file", {"name": "no.jpg", "mimeType": "image/jpeg", "buffer": b"no photo at all"})
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.locator("#file-name")).to_have_text("kept.json")
        assert_accessible(page)
        page.get_by_role("button", name="Close this message").click()
        word(page, "ACME").click()
        page.keyboard.press("1")
        page.context.set_offline(True)
        page.get_by_role("button", name="Save corrections").click()
        expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
        expect(word(page, "ACME")).to_have_accessible_name("ACME, label Merchant, checked by you")
        page.context.set_offline(False)
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#saved")).to_contain_text("1 word that you corrected")
        expect(page.get_by_role("alert")).to_be_hidden()
        assert labels_of(saved_as(site, "kept"))["ACME"] == "MERCHANT_NAME"


def test_leaving_with_unsaved_changes_asks_first(browser: Browser, site: Site) -> None:
    """The browser asks before the page is left with a change in it, and not when it is saved."""
    with opened(browser, site.url) as page:
        read_words(page, "left")
        word(page, "ACME").click()
        page.keyboard.press("1")
        asked: list[str] = []

        def stay(dialog: Any) -> None:
            asked.append(dialog.type)
            dialog.dismiss()

        page.on("dialog", stay)
        page.evaluate("setTimeout(() => { location.href = '/healthz'; })")
        wait_until(lambda: bool(asked), page)
        expect(word(page, "ACME")).to_have_accessible_name("ACME, label Merchant, checked by you")
        page.get_by_role("button", name="Save corrections").click()
        expect(page.locator("#saved")).to_be_visible()
        page.goto(f"{site.url}healthz")
        assert asked == ["beforeunload"]


def test_the_token_is_asked_for_once(browser: Browser, holder: Holder) -> None:
    """A server with a token: a wrong one is said to be wrong, the right one is kept for the tab."""
    token, digest = new_token()
    with (
        served(create_app(holder, access=Access(token_hash=digest), limits=PATIENT)) as url,
        opened(browser, url) as page,
    ):
        dialog = page.get_by_role("dialog", name="This server asks for its token")
        page.get_by_role("textbox", name="Token").fill("wrong")
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_text("That token is not the right one")).to_be_visible()
        assert_accessible(page)
        page.get_by_role("textbox", name="Token").fill(token)
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("#model")).to_contain_text("Model")
        page.reload()
        expect(page.locator("#model")).to_contain_text("Model")
        expect(dialog).to_be_hidden()
        read_words(page, "asked")
        expect(page.locator("#saved")).to_contain_text("Corrections are switched off")


def test_the_queue_takes_one_key_a_right_receipt_and_two_a_wrong_word(
    browser: Browser, holder: Holder, tmp_path: Path
) -> None:
    """Enter confirms and the next stands; an arrow and a label key correct a word; a save that fails is kept and sent
    again; the last one says that all are reviewed."""
    records = [to_line(receipt) for receipt in generate(3, 11)]
    (tmp_path / "review.jsonl").write_text("".join(records), encoding="utf-8")
    output = tmp_path / "corrections.jsonl"
    queue, known = queue_of_file(holder, tmp_path / "review.jsonl", output)
    queue.start()
    assert queue.is_read.wait(PATIENCE_MS / 1000)
    app = create_app(holder, corrections=FileCorrections(output, known=known), review=queue, limits=PATIENT)
    with served(app) as url, opened(browser, url, viewport={"width": 1280, "height": 800}) as page:
        expect(page.locator("#progress-text")).to_have_text("0 of 3 reviewed")
        names = page.locator("#entries button span").all_text_contents()
        assert_accessible(page)
        expect(page.locator("#file-name")).to_have_text(names[0])
        page.keyboard.press("Enter")
        expect(page.locator("#file-name")).to_have_text(names[1])
        page.keyboard.press("ArrowRight")
        page.keyboard.press("2")
        text = page.locator(".word:focus").text_content()
        wait_until(lambda: len(answered(page, "/v1/review/")) == 3 and len(answered(page, ":correct")) == 1, page)
        page.context.set_offline(True)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text(f"{names[1]} is not saved yet")
        expect(page.locator("#file-name")).to_have_text(names[2])
        page.context.set_offline(False)
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("alert")).to_be_hidden()
        page.locator("#fields").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="All 3 receipts are reviewed")).to_be_visible()
        wait_until(lambda: all_done(queue), page)
    queue.close()
    saved = {receipt.key: receipt for receipt in read_jsonl(output, ProblemLog())}
    assert len(saved) == 3
    assert all(receipt.review and receipt.review.confirmed for receipt in saved.values())
    corrected = next(receipt for receipt in saved.values() if receipt.name == names[1])
    assert labels_of(corrected)[str(text)] == "DATE"


def answered(page: Page, part: str) -> list[str]:
    """The addresses with such a part whose whole answers the page has."""
    names = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    return [name for name in names if part in name]


def all_done(queue: ReviewQueue) -> bool:
    return all(entry["state"] == "done" for entry in queue.entries())


def test_a_correction_is_read_back_from_the_table(
    browser: Browser, holder: Holder, receipts_table: str, tmp_path: Path
) -> None:
    """What a person confirms on the page is in the table as the next training takes it, the model's label INVALID."""
    app = create_app(holder, corrections=TableCorrections(receipts_table), limits=PATIENT)
    with served(app) as url, opened(browser, url) as page:
        read_words(page, "tabled")
        word(page, "LTD").click()
        before = str(page.evaluate("document.querySelector('.word:focus').dataset.name"))
        page.keyboard.press("3" if "Total" not in before else "1")
        page.keyboard.press("Enter")
        expect(page.locator("#saved")).to_contain_text("Saved to the receipts table: all 6 words confirmed")
    (receipt,) = read_all(receipts_table, ProblemLog())
    assert (receipt.review and receipt.review.confirmed) is True
    (one,) = (one for one in receipt.words if one.text == "LTD")
    assert one.valid_label() == ("GRAND_TOTAL" if "Total" not in before else "MERCHANT_NAME")
