"""The terminal report."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from receipt_trainer.contract.predictions import ReceiptPrediction
from receipt_trainer.contract.run_record import LayoutLMRecord
from receipt_trainer.reports.terminal import bar, print_outcome, print_report

MakeReceipt = Callable[..., ReceiptPrediction]


def printed(record: LayoutLMRecord, receipts: list[ReceiptPrediction] | None, width: int = 110) -> str:
    """What the terminal shows, with single spaces."""
    stream = io.StringIO()
    print_report(record, receipts, Console(file=stream, width=width, color_system=None))
    return " ".join(stream.getvalue().split())


def test_shows_the_numbers_of_the_run(record: LayoutLMRecord, receipts: list[ReceiptPrediction]) -> None:
    """Scores, labels, confusions, counts, timings as in the HTML form."""
    text = printed(record, receipts)
    for told in ("cafe-job complete", "F1 0.812 precision 0.863 recall 0.762 epoch 2",
                 "1,332 receipts to train, 44 to validate · 9 min 12 s · $0.0123",
                 "F1 0.520 0.800 0.520 0.812", "MERCHANT_NAME 0.900 0.800 0.847 55 ━━", "all labels 0.863",
                 "sroie 0.500 0.500 0.500 17", "TAX read as SUBTOTAL 12 27% of 45", "receipts 1,332 44",
                 "17x bad box, left out: r1 word 3", "learning_rate 0.0003", "train tokens 8,123 per s"):  # fmt: skip
        assert told in text


def test_lists_only_what_differs_line_by_line(record: LayoutLMRecord, receipts: list[ReceiptPrediction]) -> None:
    """Line 1 of the bad receipt has all three errors; line 0 and the good receipt none."""
    text = printed(record, receipts, width=160)
    assert "name-of-bad 3 of 6 words wrong (1 missed, 1 spurious, 1 wrong)" in text
    assert "1 [Tax] [0.52] [5.20] O → TAX, TAX → SUBTOTAL, SUBTOTAL → O" in text
    assert "TORINO" not in text
    assert "name-of-good" not in text


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_any_width_will_do(record: LayoutLMRecord, receipts: list[ReceiptPrediction], width: int) -> None:
    """No line is longer than the terminal."""
    stream = io.StringIO()
    print_report(record, receipts, Console(file=stream, width=width, color_system=None))
    assert max(map(len, stream.getvalue().splitlines())) <= width


def test_names_and_scores_stay_whole_at_64_columns(record: LayoutLMRecord) -> None:
    """A narrow terminal loses bars, not numbers."""
    assert "MERCHANT_NAME 0.900 0.800 0.847 55" in printed(record, None, width=64)


def test_a_failed_run_is_told_in_sentences(failed: LayoutLMRecord) -> None:
    """Nothing is there, nothing raises."""
    text = printed(failed, None)
    for told in ("no-luck failed", "UserError: no receipts", "No score is recorded", "No evaluation is recorded",
                 "No scores by label", "No confusion matrix", "There is no predictions.jsonl",
                 "No counts of the data set"):  # fmt: skip
        assert told in text


def test_texts_cannot_drive_the_terminal(record: LayoutLMRecord, make_receipt: MakeReceipt) -> None:
    """Escape sequences, rich's own markup and direction overrides are shown, not obeyed."""
    receipt = make_receipt("k\x1b]0;owned\x07", [("[red]\x1b[2J\u202eab", "TAX", "[bold]O[/]")])
    stream = io.StringIO()
    console = Console(file=stream, width=120, color_system=None)
    print_report(record.model_copy(update={"job_name": "[link=x]j\x1b[0m"}), [receipt], console)
    text = stream.getvalue()
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "[link=x]j" in text
    assert "[red]" in text
    assert "[bold]O[/]" in text


def test_bar_is_exact_to_half_a_character() -> None:
    """A half of three cells is one and a half; what is no share is cut to one."""
    assert bar(0.5, 3) == "━╸"
    assert bar(1, 3) == "━━━"
    assert bar(7, 2) == "━━"
    assert bar(float("nan"), 2) == ""


def test_training_ends_with_score_support_worst_labels_and_steps(
    record: LayoutLMRecord, receipts: list[ReceiptPrediction]
) -> None:
    """In few lines, at 80 columns; all else is for the report."""
    stream = io.StringIO()
    print_outcome(record, Console(file=stream, width=80, color_system=None), receipts)
    lines = stream.getvalue().splitlines()
    assert len(lines) < 24
    text = " ".join(stream.getvalue().split())
    for told in ("F1 0.812", "expect a little less on new ones", "Worst labels", "TAX 0.700", "What next",
                 "1. TAX is read as SUBTOTAL 12x"):  # fmt: skip
        assert told in text
