"""A run folder becomes its report; predictions.jsonl is written and read."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from receipt_trainer.cli.commands.train import report_command
from receipt_trainer.contract.names import PREDICTIONS_FILE, REPORT_FILE, RUN_FILE
from receipt_trainer.contract.predictions import ReceiptPrediction, read_predictions, write_predictions
from receipt_trainer.contract.run_record import LayoutLMRecord
from receipt_trainer.errors import UserError
from receipt_trainer.reports import formatting
from receipt_trainer.reports.run_folder import load_run, write_report

OLD_RUNS = Path(__file__).parents[1] / "fixtures" / "0_1_0" / "runs"
MakeReceipt = Callable[..., ReceiptPrediction]


@pytest.fixture
def run_dir(tmp_path: Path, record: LayoutLMRecord, receipts: list[ReceiptPrediction]) -> Path:
    """A folder as the trainer leaves it."""
    record.write(tmp_path / RUN_FILE)
    write_predictions(tmp_path / PREDICTIONS_FILE, receipts)
    return tmp_path


def test_writes_the_report_into_the_run_folder(run_dir: Path) -> None:
    """The path comes back, nothing else is left behind, and the same run gives the same file."""
    path = write_report(run_dir)
    first = path.read_bytes()
    assert path == run_dir / REPORT_FILE
    assert b"cafe-job" in first
    assert write_report(run_dir).read_bytes() == first
    assert sorted(item.name for item in run_dir.iterdir()) == sorted([RUN_FILE, PREDICTIONS_FILE, REPORT_FILE])


def test_lines_of_the_data_file_are_found_again(
    run_dir: Path, record: LayoutLMRecord, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By the receipts' ids, where the file is still there; a line that is no receipt does no harm."""
    data = tmp_path_factory.mktemp("data") / "receipts.jsonl.gz"
    with gzip.open(data, "wt") as stream:
        words = '[{"text": "Bar", "label": "B-MERCHANT_NAME"}, {"text": "X"}, 3]'
        stream.write(f'{{"id": "other", "words": {words}}}\n\n[1]\n{{"id": "name-of-bad"}}\n')
    assert b"receipts.jsonl.gz:4" not in write_report(run_dir).read_bytes()
    record.model_copy(update={"data_config": {"dataset_name": f"gone.jsonl,{data}"}}).write(run_dir / RUN_FILE)
    assert b"<code>receipts.jsonl.gz:4</code>" in write_report(run_dir).read_bytes()


@pytest.mark.parametrize("family", ["layoutlm", "paddleocr_vl"])
def test_a_run_of_an_older_version_has_its_report(tmp_path: Path, family: str) -> None:
    """run.json of 0.1.0 with no predictions beside it: the page says how good on how many."""
    shutil.copy(OLD_RUNS / f"{family}.json", tmp_path / RUN_FILE)
    page = write_report(tmp_path).read_text()
    assert "on 2 generated validation receipts" in page or "right on 2 validation documents" in page
    assert "little more than chance" in page


def test_a_folder_without_a_run_record_is_the_users_mistake(tmp_path: Path) -> None:
    """Missing, not JSON, not a record: one line that names the file; no report is written."""
    for content in (None, "{", "[]", '{"job_name": 1}'):
        if content is not None:
            (tmp_path / RUN_FILE).write_text(content)
        with pytest.raises(UserError) as caught:
            write_report(tmp_path)
        assert RUN_FILE in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / REPORT_FILE).exists()


def test_predictions_come_back_as_written(tmp_path: Path, make_receipt: MakeReceipt) -> None:
    """Any text survives, a lone surrogate becomes a question mark."""
    given = [make_receipt("k", [("é\n☕ \u2028", "TAX", "O"), ("\ud800x", "O", "O")]), make_receipt("empty", [])]
    write_predictions(tmp_path / "p", given)
    found = read_predictions(tmp_path / "p")
    assert found.receipts == given
    assert found.receipts[0].words[1].text == "?x"
    assert found.broken_lines == []


def test_broken_lines_of_predictions_are_named_not_fatal(run_dir: Path) -> None:
    """The sound receipts are reported, and the report says which lines are left out."""
    path = run_dir / PREDICTIONS_FILE
    path.write_bytes(
        b'{"key": "cut", "words": [{"te\n' + path.read_bytes() + b"\n\xff\xfe\n" + b'{"newer": 1, "key": "n"}\n'
    )
    folder = load_run(run_dir)
    assert folder.predictions is not None
    assert [receipt.key for receipt in folder.predictions] == ["bad", "good", "n"]
    assert "2 lines are not receipts and are left out (line 1, 5)" in folder.notes[0]
    assert folder.notes[0] in write_report(run_dir).read_text(encoding="utf-8")


def test_the_command_writes_prints_and_says_where(run_dir: Path) -> None:
    """--no-terminal leaves only the path."""
    shown = CliRunner().invoke(report_command, [str(run_dir)], catch_exceptions=False)
    assert "TAX read as SUBTOTAL" in shown.output
    assert shown.output.endswith(f"report: {run_dir / REPORT_FILE}\n")
    quiet = CliRunner().invoke(report_command, [str(run_dir), "--no-terminal"], catch_exceptions=False)
    assert quiet.output == f"report: {run_dir / REPORT_FILE}\n"


def test_importing_the_command_imports_neither_jinja2_nor_matplotlib_and_the_report_no_pyplot(run_dir: Path) -> None:
    """Seen in sys.modules of a fresh interpreter, before and after a report."""
    code = (
        "import sys; from pathlib import Path\n"
        "import receipt_trainer.cli.commands.train, receipt_trainer.reports.run_folder as build\n"
        "assert not {'jinja2', 'matplotlib'} & set(sys.modules)\n"
        f"build.write_report(Path({str(run_dir)!r}))\n"
        "assert 'matplotlib' in sys.modules\n"
        "assert not {'matplotlib.pyplot', 'torch', 'boto3'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (formatting.duration(0.5), "0.50 s"),
        (formatting.duration(59.6), "1 min 00 s"),
        (formatting.duration(3599.6), "1 h 00 min"),
        (formatting.duration(float("nan")), "–"),
        (formatting.number(1234567), "1,234,567"),
        (formatting.number(6e-5), "6e-05"),
        (formatting.dollars(12.345), "$12.35"),
        (formatting.dollars(0.0123), "$0.0123"),
        (formatting.when("2026-11-20T14:03:11+00:00"), "2026-11-20 14:03 UTC"),
        (formatting.when("yesterday"), "yesterday"),
        (formatting.one_line("a\n b" + "c" * 100, 5), "a bc…"),
    ],
)
def test_numbers_are_written_for_people(said: str, expected: str) -> None:
    """Two units of time, four digits, thousands apart."""
    assert said == expected
