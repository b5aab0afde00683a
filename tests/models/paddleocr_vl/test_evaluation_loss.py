"""Evaluation losses that are no numbers: the run ends, and records that hold one are read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from receipt_trainer.contract.run_record import LossEvaluation, PaddleOcrVlRecord
from receipt_trainer.models.paddleocr_vl.family import best_of
from receipt_trainer.sweep.collect import measures_of
from receipt_trainer.sweep.experiment_log import step_of
from receipt_trainer.training import checkpoints
from tests.fork_server import Program
from tests.models.paddleocr_vl.runs import vl_train, write_config
from tests.strikes import VL_LOSS, strike
from tests.training.runs import record_of


def test_the_run_ends(vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path: Path) -> None:
    """As for a training loss: exit 1, the examples in the error and in the record, the checkpoint before it kept."""
    config = write_config(tmp_path / "config.yaml", tiny_model, receipts)
    log = tmp_path / "log"
    assert vl_cli.run(vl_train(config), log, strike("nan", 12, VL_LOSS)) == 1
    line = next(line for line in log.read_text().splitlines() if line.startswith("error: "))
    assert line.startswith("error: step 4: the validation loss is nan on val-")
    assert "checkpoint-2 is the last good checkpoint" in line
    assert step_of(line) == 4
    record = record_of(tmp_path / "run")
    assert record.status == "failed"
    assert record.error is not None
    assert "validation loss is nan" in record.error
    left = [path.name for path in checkpoints.folders(tmp_path / "run") if checkpoints.verify(path)]
    assert left == ["checkpoint-2"]


def evaluations(*losses: float | None) -> list[LossEvaluation]:
    return [LossEvaluation(epoch=n, step=n, eval_loss=loss) for n, loss in enumerate(losses)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_the_best_is_a_number(bad: float | None) -> None:
    """An evaluation without a loss is never the best one, wherever it stands; of nothing else there is no best."""
    rows = evaluations(bad, 2.0, 1.0, bad)
    assert best_of(rows) is rows[2]
    assert best_of(rows[:1]) is None


def test_a_record_with_such_an_evaluation_is_read() -> None:
    """JSON has null for it: the rest of the losses count."""
    record = PaddleOcrVlRecord(job_name="x", job_id="x", model="m", training_config={}, data_config={}, label_list=[])
    record.vl.evaluations = evaluations(None, 1.0, math.nan, 2.0)
    assert measures_of(record)["spikes"] == 1
