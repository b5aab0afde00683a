"""Experiments one after the other: what is done, logged, and not done again."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.config.job_file import load_job_file
from receipt_trainer.contract.run_record import PaddleOcrVlRecord, VlResults
from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.documents import evaluate
from receipt_trainer.reports.evaluation_pages import read_scores, write_evaluation
from receipt_trainer.sweep.collect import stability
from receipt_trainer.sweep.experiment_log import (
    CONFIG,
    RUN,
    SCORES,
    Criterion,
    LocalRunner,
    Outcome,
    as_markdown,
    places,
    ranked,
    read_log,
    verdict_of,
    write_log,
)
from receipt_trainer.sweep.experiments import Experiment, read_experiments
from tests.evaluation.answered import document, predict
from tests.sweep.lab import BASE, write, write_lab

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_lab(tmp_path)


def leave_run(
    place: Path, losses: list[float], status: Any = "complete", scores: dict[str, float] | None = None
) -> None:
    """What training leaves."""
    rows = [{"epoch": at, "step": 10 * at, "eval_loss": loss} for at, loss in enumerate(losses, start=1)]
    vl = {"evaluations": rows, "best": min(rows, key=lambda row: row["eval_loss"], default={}), "peak_memory_gib": 2.5}
    vl |= {} if scores is None else {"scores": scores}
    record = PaddleOcrVlRecord(
        job_name="x",
        job_id="x",
        model="m",
        training_config={},
        data_config={},
        status=status,
        vl=VlResults.model_validate(vl),
    )
    record.timings["train_s"] = 1800.0
    record.write(place / RUN / "run.json")


class Lab:
    """Stands for the two child processes: trains and scores by a list of what becomes of each experiment."""

    def __init__(self, failing: dict[str, str] | None = None) -> None:
        self.failing = failing or {}
        self.calls: list[str] = []
        self.leaves_nothing = False

    def train(self, experiment: Experiment, place: Path) -> str | None:
        self.calls.append(f"train {experiment.name}")
        assert load_job_file(place / CONFIG).spec.training_config == experiment.job.training_config
        failure = self.failing.get(experiment.name)
        if failure == "interrupt":
            raise KeyboardInterrupt
        if self.leaves_nothing:
            return failure
        leave_run(place, [3.0] if failure else [3.0, 1.0, 2.0], "failed" if failure else "complete")
        return failure

    def evaluate(self, experiment: Experiment, place: Path) -> dict[str, Any] | str:
        self.calls.append(f"evaluate {experiment.name}")
        if experiment.name == "rank-8":
            return "no documents to score on"
        evaluation = evaluate([predict(document(), document(tax=4))])
        write_evaluation(evaluation, place / SCORES, {"model": "m"}, place, NOON)
        return read_scores(place / SCORES)

    def run(self, folder: Path, **options: Any) -> dict[str, Outcome]:
        runner = LocalRunner(folder / "results", self.train, self.evaluate, now=lambda: NOON, **options)
        return {result.name: result for result in runner.run(read_experiments(folder))}


def test_results_are_logged(folder: Path) -> None:
    """Eval loss, scores, hours, memory, stability, and notes; as lines, Markdown and CSV."""
    lab = Lab({"hot": "step 7: the loss is nan on d1, d2; checkpoint-5 is the last good checkpoint"})
    found = lab.run(folder)
    assert found["base"].eval_loss == 1.0
    assert found["base"].field_accuracy == pytest.approx(28 / 29)
    assert found["base"].teds == 1.0
    assert (found["base"].hours, found["base"].peak_memory_gib, found["base"].spikes) == (0.5, 2.5, 1)
    assert found["base"].notes == "best at step 20 of 30"
    assert (found["hot"].status, found["hot"].failed_step) == ("failed", 7)
    assert "nan on d1, d2" in found["hot"].notes
    assert found["hot"].field_accuracy is None
    assert (found["rank-8"].status, found["rank-8"].field_accuracy) == ("complete", None)
    assert "not scored: no documents" in found["rank-8"].notes
    assert lab.calls == ["train base", "evaluate base", "train hot", "train rank-8", "evaluate rank-8"]
    assert read_log(folder / "results") == found
    table = (folder / "results" / "experiments.md").read_text().splitlines()
    assert len(table) == 5
    assert len({line.count(" | ") for line in table}) == 1
    rows = list(csv.DictReader((folder / "results" / "experiments.csv").open()))
    assert [row["name"] for row in rows] == ["base", "hot", "rank-8"]
    assert rows[1]["failed_step"] == "7"


def test_it_goes_on_where_it_stopped(folder: Path) -> None:
    """What is in the log is not done again; failed experiments only on request."""
    with pytest.raises(KeyboardInterrupt):
        Lab({"hot": "interrupt"}).run(folder)
    assert set(read_log(folder / "results")) == {"base"}
    lab = Lab({"hot": "the GPU's memory is too small"})
    assert lab.run(folder)["hot"].status == "failed"
    assert lab.calls[0] == "train hot"
    lab = Lab()
    lab.run(folder)
    assert lab.calls == []
    assert lab.run(folder, retry_failed=True)["hot"].status == "complete"
    assert lab.calls == ["train hot", "evaluate hot"]


def test_a_run_that_is_complete_is_only_scored(folder: Path) -> None:
    """If the end came between training and scoring, training is not repeated."""
    leave_run(folder / "results" / "base", [1.0])
    lab = Lab()
    lab.run(folder)
    assert lab.calls[0] == "evaluate base"


def test_a_run_that_has_scored_itself_is_not_scored_again(folder: Path) -> None:
    """Its own scores count, unless other documents are asked for; then they are never taken for those."""
    scores = {"field_accuracy": 0.25, "present_accuracy": 0.125, "teds": 0.5}
    for name in ("base", "rank-8"):
        leave_run(folder / "results" / name, [1.0], scores=scores)
    lab = Lab()
    found = lab.run(folder)
    assert lab.calls == ["train hot", "evaluate hot"]
    assert (found["base"].field_accuracy, found["base"].teds) == (0.25, 0.5)
    assert found["base"].present_accuracy == 0.125
    (folder / "results" / "experiments.jsonl").unlink()
    lab = Lab()
    found = lab.run(folder, own_scores=False)
    assert "evaluate base" in lab.calls
    assert found["base"].field_accuracy == pytest.approx(28 / 29)
    assert found["rank-8"].field_accuracy is None


def test_a_file_that_was_changed(folder: Path) -> None:
    """Its old result is not taken for the new one, and nothing is run."""
    Lab().run(folder)
    write(folder, "hot", {"training": {"learning_rate": 6e-4}})
    lab = Lab()
    with pytest.raises(UserError, match=r"hot\.yaml was changed"):
        lab.run(folder)
    assert lab.calls == []


@pytest.mark.parametrize("retry", [False, True])
def test_a_base_that_failed_before_a_step(folder: Path, retry: bool) -> None:
    """Nothing else is run, again and again, until its file is corrected; then all are, with nothing of before."""
    lab = Lab({"base": "dataset_path: no such folder"})
    lab.leaves_nothing = True
    for _ in range(2):
        assert set(lab.run(folder)) == {"base"}
    assert lab.calls == ["train base"]
    write(folder, "base", BASE | {"training": {**BASE["training"], "weight_decay": 0.1}})
    assert {one.status for one in Lab().run(folder, retry_failed=retry).values()} == {"complete"}


def test_stability() -> None:
    """By hand: 1.2 and 1.5 are above 1.1 times the lowest before; the deviation of the last five over their mean."""
    assert stability([1.0]) == (None, None)
    assert stability([2.0, 1.0, 1.05, 1.2, 0.9, 1.5])[1] == 2
    spread, spikes = stability([9.0, 1.0, 3.0, 1.0, 3.0, 2.0])
    assert spread == pytest.approx((4 / 5) ** 0.5 / 2)
    assert spikes == 3
    assert stability([1.0, 1.0]) == (0.0, 0)


def result(name: str, **values: Any) -> Outcome:
    return Outcome.model_validate({"name": name, "digest": "", "changes": "", "status": "complete"} | values)


def test_ranking() -> None:
    """Best first, by fields that are there; equal values share a place; missing values come after, failures last."""
    results = [
        result("none"),
        result("broken", status="failed", eval_loss=0.1),
        result("slow", eval_loss=0.5, present_accuracy=0.8, hours=2.0, spikes=0, spread=0.2),
        result("fast", eval_loss=0.5, field_accuracy=0.9, present_accuracy=0.7, hours=1.0, spikes=0, spread=0.1),
        result("low", eval_loss=0.4, teds=0.9, spikes=1, spread=0.0),
    ]
    expected: dict[Criterion, list[str]] = {
        "eval_loss": ["low", "slow", "fast"],
        "field_accuracy": ["slow", "fast", "low"],
        "time": ["fast", "slow", "low"],
        "stability": ["fast", "slow", "low"],
        "teds": ["low", "slow", "fast"],
    }
    for criterion, order in expected.items():
        assert [one.name for one in ranked(results, criterion)] == [*order, "none", "broken"]
    assert places(ranked(results, "eval_loss"), "eval_loss") == [1, 2, 2, None, None]


def test_notes_do_not_break_the_table() -> None:
    """Bars and line ends in notes stay inside their cell."""
    lines = as_markdown([result("a", notes="x | y\nz")]).splitlines()
    assert len(lines) == 3
    assert r"x \| y z" in lines[2]


def test_a_broken_log(tmp_path: Path) -> None:
    """It is named with its line, not written over."""
    write_log(tmp_path, [result("a")])
    with (tmp_path / "experiments.jsonl").open("a") as stream:
        stream.write('{"name": "b"}\n')
    with pytest.raises(UserError, match=r"experiments\.jsonl:2: not a result"):
        read_log(tmp_path)


def test_seeds_of_experiments() -> None:
    """Files that differ in the seed alone are one configuration: its best is compared beyond the noise of its seeds."""
    seeds = [("training.seed: 42 -> 1", 0.50), ("training.seed: 42 -> 2", 0.52)]
    rank = "lora.r: 16 -> 8"
    outcomes = [result("base", changes="nothing: the base", eval_loss=0.51)]
    outcomes += [result(f"seed-{at}", changes=said, eval_loss=loss) for at, (said, loss) in enumerate(seeds)]
    outcomes += [result("rank-8", changes=rank, eval_loss=0.31)]
    alone = verdict_of(outcomes, "eval_loss")
    assert alone is not None
    assert (alone.is_better, alone.num_trials) == (None, 2)
    assert alone.text.startswith("rank-8 has the lowest mean eval loss of 2 (lower is better): 0.3100 over 1 seed.")
    assert "training_config.seed" in alone.text
    outcomes += [
        result(f"rank-8-{at}", changes=f"{rank}; {said}", eval_loss=loss - 0.2) for at, (said, loss) in enumerate(seeds)
    ]
    verdict = verdict_of(outcomes, "eval_loss")
    assert verdict is not None
    assert (verdict.is_better, verdict.num_trials) == (True, 2)
    assert "It is better than the base (base): the difference is -0.2000" in verdict.text
    assert verdict_of(outcomes, "time") is None
