"""The package of a run: exact, or refused; never the run's failure."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receipt_trainer.cli.layoutlm import group
from receipt_trainer.cli.lazy import run as run_program
from receipt_trainer.contract.package import KNOWN_FILE
from receipt_trainer.contract.run_record import LayoutLMRecord, load_record
from receipt_trainer.data.encode import words_of
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.data.synthetic import generate
from receipt_trainer.errors import UserError
from receipt_trainer.inference.package import open_package
from receipt_trainer.models.layoutlm import serve_export
from receipt_trainer.models.layoutlm.serve_export import export_run, generated_receipts, gold_receipts, try_export
from tests.packages import SPACE, make_model


@pytest.fixture(scope="module")
def receipts() -> Sequence[Any]:
    """Receipts on which every export of these tests is checked: few, as each is read by three models."""
    return generated_receipts()[:4]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of version 0.1.0: a model, predictions of 30 receipts, no package. Tests copy it."""
    return make_model(tmp_path_factory.mktemp("old") / "run", list(generate(30, 3)), examples="line")


@pytest.fixture
def run(model: Path, receipts: Sequence[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(serve_export, "generated_receipts", lambda: list(receipts))
    return Path(shutil.copytree(model, tmp_path / "run"))


def record_of(run: Path) -> LayoutLMRecord:
    record = load_record(run / "run.json")
    assert isinstance(record, LayoutLMRecord)
    return record


def test_the_receipts_kept_are_those_of_the_generator() -> None:
    """The file of generated receipts is `generate(50, 50)`: its texts, boxes and lines."""
    for kept, made in zip(generated_receipts()[:5], generate(5, 50), strict=True):
        assert [(word.text, word.line) for word in kept.words] == [(word.text, word.line) for word in made.words]
        assert [word.box_1000() for word in kept.words] == [word.box_1000() for word in made.words]
    assert len(generated_receipts()) == 50


def test_an_old_run_gets_a_package(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`layoutlm-cli export RUN` makes the package of a run that has none, calibrated on its predictions, and its
    record says so."""
    with pytest.raises(SystemExit) as end:
        run_program(group, ["export", str(run)])
    assert end.value.code == 0
    said = capsys.readouterr().out
    manifest = open_package(run).manifest
    assert manifest.job_name == "job"
    assert manifest.calibration.calibrated
    assert manifest.calibration.word_error is not None
    assert manifest.scores.num_validation == 30
    assert "calibrated" in said
    assert "date orders and amounts are those of its validation receipts" in said
    outcome = record_of(run).package
    assert outcome is not None
    assert outcome.precision == manifest.precision == "int8"
    assert outcome.folder == "model/serve"
    assert (run / outcome.folder / "manifest.json").is_file()
    assert (outcome.f1_fp32, outcome.f1_int8) == (manifest.scores.f1_fp32, manifest.scores.f1_int8)
    assert outcome.f1_int8 is not None


def wrong(monkeypatch: pytest.MonkeyPatch, name: str, change: Any) -> None:
    """Let the graph be made of other weights than the model's."""
    original = serve_export.onnx_model

    def other(weights: Any, config: Any, *, int8: bool = False) -> bytes:
        return original({**weights, name: change(weights[name])}, config, int8=int8)

    monkeypatch.setattr(serve_export, "onnx_model", other)


def test_a_wrong_graph_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights off by a thousandth: no package, nothing half-written, and an earlier package stays."""
    wrong(monkeypatch, "classifier.bias", lambda bias: bias + np.float32(1e-3))
    with pytest.raises(UserError, match=r"differs from torch by 0.001; at most 0.0001 is allowed"):
        export_run(run, record_of(run))
    assert not list((run / "model").glob("*serve*"))


def test_a_run_is_none_the_worse_for_a_failing_export(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal and a bug alike become a reason in the record."""
    wrong(monkeypatch, "classifier.bias", lambda bias: bias + np.float32("nan"))
    record = record_of(run)
    try_export(run, record, ())
    assert record.package is not None
    assert record.package.precision is None
    assert record.package.reason == "the ONNX model differs from torch by inf; at most 0.0001 is allowed"
    monkeypatch.setattr(serve_export, "onnx_model", lambda *_, **__: 1 / 0)
    try_export(run, record, ())
    assert record.package.reason == "ZeroDivisionError: division by zero"
    assert "no model package: ZeroDivisionError" in serve_export.describe_package(record)
    written = json.loads(record.model_dump_json())["package"]
    assert written["reason"] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [("MIN_SAME_LABELS", 1.1, "of the words fp32's label"), ("MAX_F1_LOSS", -1.0, "has F1 .* on validation, fp32")],
)
def test_int8_that_loses_is_not_taken(
    run: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: float, reason: str
) -> None:
    """Where labels or F1 fall below their bound, the package names fp32, says why, and has no int8 file."""
    monkeypatch.setattr(serve_export, limit, value)
    manifest = export_run(run, record_of(run))
    assert manifest.precision == "fp32"
    assert manifest.scores.reason is not None
    assert re.search(reason, manifest.scores.reason)
    assert "model.int8.onnx" not in manifest.files
    assert not (run / "model" / "serve" / "model.int8.onnx").exists()


def test_without_predictions_nothing_is_calibrated(run: Path) -> None:
    """A run whose predictions are gone: checked on generated receipts alone, no F1, calibrated false."""
    (run / "predictions.jsonl").unlink()
    manifest = export_run(run, record_of(run))
    assert not manifest.calibration.calibrated
    assert manifest.calibration.temperature == 1
    assert (manifest.scores.num_validation, manifest.scores.f1_fp32) == (0, None)


def test_date_orders_are_those_of_the_training_dates(run: Path) -> None:
    """31/12 proves day before month; 01/02 proves nothing."""
    training = gold_receipts(words_of(shops("Rp 7.000", "Rp 9.500"), SPACE), SPACE)
    manifest = export_run(run, record_of(run), ["31/12/2024", "30.11.2023", "01/02/2024", "12/31/2024"], training)
    assert manifest.date_orders == {"dmy": 2, "mdy": 1}
    assert manifest.amount_marks == {".thousands": 2}
    known = json.loads((run / "model" / "serve" / KNOWN_FILE).read_bytes())
    assert known == {"merchants": ["BIG SHOP"], "addresses": []}
    assert KNOWN_FILE in manifest.files


def test_made_again_a_package_keeps_what_is_of_training(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`layoutlm-cli export` has no training receipts: date orders, amounts and merchants are those that the run's own
    package has, even where its model is damaged; the package of another run gives none."""
    training = gold_receipts(words_of(shops("Rp 7.000", "Rp 9.500"), SPACE), SPACE)
    first = export_run(run, record_of(run), ["31/12/2024"], training)
    serve = run / "model" / "serve"
    known = (serve / KNOWN_FILE).read_bytes()
    (serve / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(SystemExit):
        run_program(group, ["export", str(run)])
    assert "known merchants are those of its training receipts" in capsys.readouterr().out
    again = open_package(run).manifest
    assert (again.date_orders, again.amount_marks) == (first.date_orders, first.amount_marks)
    assert again.date_orders == {"dmy": 1}
    assert (serve / KNOWN_FILE).read_bytes() == known
    other = record_of(run).model_copy(update={"job_id": "another"})
    assert KNOWN_FILE not in export_run(run, other).files


def shops(*totals: str) -> list[Receipt]:
    """A receipt of one shop for each total."""
    box = (0.1, 0.1, 0.2, 0.2)
    return [
        Receipt(
            str(number),
            1,
            (
                Word("BIG", box, 0, (WordLabel("MERCHANT_NAME"),)),
                Word("SHOP", box, 0, (WordLabel("MERCHANT_NAME"),)),
                Word("Total", box, 1),
                Word(total, box, 1, (WordLabel("GRAND_TOTAL"),)),
            ),
        )
        for number, total in enumerate(totals)
    ]
