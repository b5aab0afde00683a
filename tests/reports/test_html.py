"""The HTML report."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from receipt_trainer.contract.predictions import ReceiptPrediction
from receipt_trainer.contract.run_record import Confusion, EpochMetrics, LayoutLMRecord, PackageOutcome, Score
from receipt_trainer.reports.html import render_html
from receipt_trainer.reports.receipt_svg import draw
from receipt_trainer.reports.word_errors import judged

MakeReceipt = Callable[..., ReceiptPrediction]

VOID = {"meta", "link", "img", "br", "hr", "input", "col"}
SECTIONS = {"headline", "fields", "labels", "confusion", "worst", "errors", "curves", "data", "settings", "machine"}


class Page(HTMLParser):
    """Checks that elements nest, and collects tags, ids, references and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"<{tag} {name}>"
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
                self.references.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> at {self.getpos()}"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += f" {data}"


def flat(html: str) -> str:
    """What a reader sees, with single spaces."""
    return " ".join(Page(html).text.split())


def test_is_one_well_formed_file_with_every_section(record: LayoutLMRecord, receipts: list[ReceiptPrediction]) -> None:
    """Elements nest, ids are unique, and every section is there."""
    page = Page(render_html(record, receipts))
    assert set(page.ids) >= SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("h1") == 1


def test_needs_nothing_from_outside(record: LayoutLMRecord, receipts: list[ReceiptPrediction]) -> None:
    """No script and no reference but data URIs and anchors into the page, nor in the pictures inside the data URIs."""
    html = render_html(record, receipts)
    page = Page(html)
    assert "script" not in page.tags
    assert "iframe" not in page.tags
    anchors = [reference[1:] for reference in page.references if reference.startswith("#")]
    assert set(anchors) <= set(page.ids)
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    pictures = [base64.b64decode(uri.split(",", 1)[1]).decode() for uri in page.references if "svg+xml;base64" in uri]
    assert len(pictures) == 3
    for text in (html, *pictures):
        rest = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
        assert "http:" not in rest
        assert "https:" not in rest


def test_the_first_screen_says_how_good_where_it_fails_and_what_next(
    record: LayoutLMRecord, make_receipt: MakeReceipt
) -> None:
    """Score and receipts in a sentence, values right a receipt, the worst labels and receipts, steps with links; that
    receipts are generated stands above; then the numbers of the kept model.
    """
    words = [("1.00", "TAX", "O"), ("2.00", "TAX", "O"), ("9.90", "GRAND_TOTAL", "GRAND_TOTAL")]
    receipts = [make_receipt(key, words if key == "bad" else words[2:], source="synthetic") for key in ("ok", "bad")]
    html = render_html(record.model_copy(update={"confusion": None}), receipts)
    head = flat(html).split("On how many receipts is a field right?")[0]
    for told in ("cafe-job", "complete", "These receipts are generated", "F1 0.812 on 44 generated validation receipts",
                 "total 2 of 2 right", "all right on 2 of 2 receipts", "TAX F1 0.646 36 values",
                 "The worst: name-of-bad", "TAX is missed 2x", "0.863", "0.762", "of 107 entities", "1,376",
                 "1,332 to train, 44 to validate", "9 min 12 s", "$0.0123", "epoch 2 of 3"):  # fmt: skip
        assert told in head
    assert '<a href="#receipt-2">TAX is missed 2x' in html
    assert "3 values: little more than chance" in render_html(
        record.model_copy(update={"per_label": {"TAX": Score(precision=1, recall=1, f1=1, support=3)}}), None
    )


def test_every_error_is_listed_with_its_receipt_and_line(record: LayoutLMRecord, make_receipt: MakeReceipt) -> None:
    """Of all receipts, not of the drawn ones alone; words that the model was sure of stand apart; a long name is there
    in full, and shown shortened.
    """
    names = [f"{at:040x}" for at in range(9)]
    receipts = [
        make_receipt(name, [("x", "TAX", "O"), ("y", "TAX", "TAX")]).model_copy(update={"name": name}) for name in names
    ]
    sure = receipts[8].words[0].model_copy(update={"score": 0.97, "text": "odd"})
    receipts[8] = receipts[8].model_copy(update={"words": (sure, *receipts[8].words[1:])})
    html = render_html(record, receipts, places={names[8]: "mine.jsonl:14"})
    drawn, listed = html.split('<section id="errors">')
    assert drawn.count("<article") == 6
    assert "Every error of every receipt (9)" in listed
    for at, name in enumerate(names, start=1):
        assert f'<tbody id="errors-{at}"' in listed
        assert f'title="{name}">{name}</bdi>' in listed
    assert "mine.jsonl:14 odd TAX O 97%" in flat(html)


def test_overlapping_words_are_drawn_apart(make_receipt: MakeReceipt) -> None:
    """Three words in one box: no text lies on another, and a word alone stays in the middle of its box."""
    boxes = [(0, 0, 300, 60)] * 3 + [(600, 900, 900, 960)]
    drawing = draw(judged(make_receipt("k", [("overlap", "O", "O")] * 4, boxes)), {})
    assert drawing is not None
    spans = sorted((word["text_y"], word["font_size"]) for word in drawing["words"][1:])
    for (y, size), (below, other) in pairwise(spans):
        assert below - y > 0.4 * (size + other)
    alone = drawing["words"][0]
    assert alone["text_y"] == alone["y"] + alone["height"] / 2


def test_all_colours_change_in_the_dark(record: LayoutLMRecord, receipts: list[ReceiptPrediction]) -> None:
    """Outside the two lists of variables no colour is written but those of labels, which are mixed with white there."""
    html = render_html(record, receipts)
    style = re.sub(r":root \{[^}]*\}", "", html[html.index("<style>") : html.index("</style>")])
    assert set(re.findall(r"#[0-9a-f]{3,6}\b", style)) == {"#fff"}
    assert "var(--shown)" in style
    assert html.count("prefers-color-scheme: dark") == 1
    light, dark = re.findall(r":root \{([^}]*)\}", html)
    assert set(re.findall(r"--[\w-]+(?=:)", light)) == set(re.findall(r"--[\w-]+(?=:)", dark))
    body = html[html.index("<body>") :]
    assert re.findall(r'(?:fill|stroke|color)="#|(?:background|color):\s*#', body) == []


def test_scores_by_label_come_in_the_order_of_the_record(record: LayoutLMRecord) -> None:
    """MERCHANT_NAME is first in entity_labels, TAX in per_label: the former order is shown, with support."""
    text = flat(render_html(record, None))
    assert "MERCHANT_NAME 0.900 0.800 0.847 55 TAX 0.700 0.600 0.646 36 All labels" in text
    assert "wildreceipt 0.900 0.900 0.900 90 sroie 0.500" in text


def test_confusion_is_shaded_by_the_share_of_its_row(record: LayoutLMRecord) -> None:
    """12 of 45 TAX words read as SUBTOTAL: 27 %, shade 0.05 + 0.85 * 12 / 45 = 0.28."""
    html = render_html(record, None)
    assert 'rgb(var(--red) / 0.28)" title="TAX read as SUBTOTAL: 27%">12<' in html
    assert "TAX read as SUBTOTAL 12×" in flat(html)


def test_confusion_is_counted_from_predictions_where_the_record_has_none(
    record: LayoutLMRecord, receipts: list[ReceiptPrediction]
) -> None:
    """A running record has no matrix yet; the predictions say the same."""
    text = flat(render_html(record.model_copy(update={"confusion": None}), receipts))
    assert "TAX read as SUBTOTAL 1×" in text


def test_each_kind_of_error_has_its_own_mark_and_caption(
    record: LayoutLMRecord, receipts: list[ReceiptPrediction]
) -> None:
    """Missed, spurious and wrong words differ by class (stroke style) and are told in words."""
    html = render_html(record, receipts)
    drawn = html[html.index('<article class="receipt"') : html.index('<section id="errors">')]
    for kind in ("missed", "spurious", "wrong"):
        assert drawn.count(f'<g class="w {kind}">') == 1
    for caption in ('Tax</bdi> <span class="confusion">O → TAX<', "TAX → SUBTOTAL<", "SUBTOTAL → O<"):
        assert caption in drawn
    assert "3 of 6 words wrong (50%): 1 missed, 1 spurious, 1 with a wrong label" in flat(html)
    styles = re.findall(r"\.w\.(?:missed|spurious|wrong) rect \{[^}]*\}", html)
    assert len({re.sub(r"stroke: [^;]*;", "", style) for style in styles}) == 3


def test_data_problems_settings_and_machine_are_told(record: LayoutLMRecord) -> None:
    """Counts side by side, problems with an example, meanings of hyperparameters, unknown ones too."""
    text = flat(render_html(record, None))
    for told in ("train validation", "receipts 1,332 44", "TAX 265 36", "bad box 17 left out r1 word 3 ([1])",
                 "hash 9f86d081", "learning_rate 0.0003 Peak of AdamW", 'from_the_future {"a": [1]}',
                 "train tokens 8,123 per s", "memory 7.7 GiB", "torch 2.9.1+cpu"):  # fmt: skip
        assert told in text


def test_the_model_package_is_named(record: LayoutLMRecord) -> None:
    """Where it lies, what reading loads and F1 of both precisions; a run without one says why."""
    outcome = PackageOutcome(
        precision="int8", folder="model/serve", f1_fp32=0.9118, f1_int8=0.9185, num_validation=35, seconds=4.0
    )
    text = flat(render_html(record.model_copy(update={"package": outcome}), None))
    assert "Model package Folder model/serve Precision int8 F1 in fp32 0.912 F1 in int8 0.918" in text
    failed = PackageOutcome(reason="the ONNX model differs from torch by 0.1")
    text = flat(render_html(record.model_copy(update={"package": failed}), None))
    assert "Precision no package Reason the ONNX model differs from torch by 0.1" in text
    assert "Model package" not in flat(render_html(record.model_copy(update={"package": None}), None))


def test_a_failed_run_without_anything_is_told_in_sentences(failed: LayoutLMRecord) -> None:
    """Each part that is missing says so; nothing raises."""
    text = flat(render_html(failed, None))
    for told in ("The run failed", "UserError: no receipts", "No evaluation is recorded", "No scores by label",
                 "No confusion matrix", "There is no predictions.jsonl", "No counts of the data set",
                 "No split is recorded", "No timings"):  # fmt: skip
        assert told in text


def test_receipts_without_errors_are_told_in_a_sentence(record: LayoutLMRecord, make_receipt: MakeReceipt) -> None:
    """No drawing where nothing is wrong; an empty file and receipts without words are no crash."""
    good = make_receipt("a", [("x", "TAX", "TAX")])
    assert "All 1 validation receipts were read without an error" in flat(render_html(record, [good]))
    assert "The predictions hold no receipt" in flat(render_html(record, []))
    assert "read without an error" in flat(render_html(record, [make_receipt("none", [])]))


@pytest.mark.parametrize("number", [1, 200])
def test_curves_of_any_length(record: LayoutLMRecord, number: int) -> None:
    """One evaluation and 200, with losses unknown or not finite, are drawn."""
    rows = [
        EpochMetrics(epoch=at, step=at, train_loss=None if at % 2 else float("inf"), eval_loss=float("nan"),
                     precision=0, recall=0, f1=0, elapsed_s=at)
        for at in range(1, number + 1)
    ]  # fmt: skip
    page = Page(render_html(record.model_copy(update={"epoch_metrics": rows}), None))
    assert sum(uri.startswith("data:image/svg+xml") for uri in page.references) == 1


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=https://evil.example/x onerror=alert(1)>',
    "</svg></style><h1>pwned</h1>",
    "{{ 7 * 7 }}{% raw %}",
    "שלום עולם",
    "\u202emoc.live",
    "👩‍👩‍👧 ☕",
    "W" * 300,
    "\x00\x1b[31mred\x07",
    "&amp;&lt;",
]


def test_hostile_texts_stay_text(record: LayoutLMRecord, make_receipt: MakeReceipt) -> None:
    """Markup in words, labels, names, job and settings is escaped; control and direction characters do not act."""
    boxes = [(0, 0, 0, 0), (1000, 1000, 1000, 1000), (900, 900, 10, 10), (-5, -5, 2000, 3000)]
    receipt = make_receipt(
        HOSTILE[0],
        [(text, HOSTILE[at % 3], HOSTILE[(at + 1) % 3]) for at, text in enumerate(HOSTILE)],
        [boxes[at % 4] for at in range(len(HOSTILE))],
        source=HOSTILE[1],
    )
    hostile = record.model_copy(
        update={
            "job_name": HOSTILE[1], "model": HOSTILE[2], "error": HOSTILE[0], "started_at": HOSTILE[1],
            "training_config": {HOSTILE[0]: HOSTILE[1]}, "versions": {HOSTILE[2]: HOSTILE[0]},
            "per_label": {HOSTILE[2]: Score(precision=float("nan"), recall=9, f1=-1, support=0)},
            "dataset_counts": {HOSTILE[0]: {HOSTILE[1]: HOSTILE[2]}, "problems": {HOSTILE[0]: {"examples": HOSTILE}}},
            "confusion": Confusion(labels=HOSTILE[:2], counts=[[0, 0], [1, 0]]),
        }
    )  # fmt: skip
    html = render_html(hostile, [receipt])
    page = Page(html)
    assert "script" not in page.tags
    assert page.tags.count("h1") == 1
    assert page.tags.count("img") == 3
    assert "&lt;script&gt;" in html
    assert "{{ 7 * 7 }}" in page.text
    assert "שלום" in page.text
    assert not set("\x00\x1b\x07\u202e") & set(html)
    assert "W" * 61 not in html


def test_a_degenerate_page_is_drawn(record: LayoutLMRecord, make_receipt: MakeReceipt) -> None:
    """All boxes in one point, a page of unknown or absurd size: a picture with finite, sound lengths."""
    for size in ((0, 0), (1, 100_000), (100_000, 1)):
        receipt = make_receipt("p", [("a", "TAX", "O")] * 4, [(500, 500, 500, 500)] * 4)
        html = render_html(record, [receipt.model_copy(update={"width": size[0], "height": size[1]})])
        lengths = re.findall(r' (?:width|height|font-size|textLength)="([^"]*)"', html[html.index("<article") :])
        assert lengths
        assert all(0 < float(length) < 1500 for length in lengths)


def test_size_stays_below_3_mb(record: LayoutLMRecord, make_receipt: MakeReceipt) -> None:
    """Twenty receipts, six of them with 700 words that are all wrong, and 40 labels."""
    many = [(f"word{at}", f"LABEL_{at % 40}", f"LABEL_{at % 39}") for at in range(700)]
    found = [make_receipt(f"big{at}", many) for at in range(6)]
    found += [make_receipt(f"small{at}", [("x", "TAX", "TAX")] * 100) for at in range(14)]
    html = render_html(record.model_copy(update={"confusion": None}), found)
    assert len(html.encode()) < 3_000_000
    assert "100 words are not drawn" in flat(html)
    assert "rarest labels are not shown" in flat(html)
