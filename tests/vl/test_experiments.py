"""Experiments: what they change, their log, their ranking."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from receipt_trainer.config_vl import load_vl_config
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.errors import UserError
from receipt_trainer.vl.evaluate import evaluate
from receipt_trainer.vl.evaluation_files import EvaluationFiles, write_evaluation
from receipt_trainer.vl.experiment_log import Result, as_markdown, read_log, stability, write_log
from receipt_trainer.vl.experiment_ranking import rank
from receipt_trainer.vl.experiment_run import Place, run_experiments
from receipt_trainer.vl.experiments import Experiment, read_experiments
from tests.vl.documents import document, predict

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BASE = {
    "dataset_path": "train.jsonl",
    "training": {"learning_rate": 1e-4, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    "experiment": {"name": "the base", "hyperparameters_under_test": ["whatever"]},
}


def write(folder: Path, name: str, values: dict[str, Any]) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A base, one experiment that is written in full, one that says only what it changes."""
    write(tmp_path, "base", BASE)
    write(tmp_path, "rank-8", {"dataset_path": "train.jsonl", "training": BASE["training"], "lora": {"r": 8}})
    write(tmp_path, "hot", {"training": {"learning_rate": 5e-4}})
    return tmp_path


def test_what_each_changes(folder: Path) -> None:
    """The base first, then each file with its one change; what a file does not say is the base's."""
    found = read_experiments(folder)
    assert [one.name for one in found] == ["base", "hot", "rank-8"]
    assert [one.said for one in found] == [
        "nothing: the base",
        "training.learning_rate: 0.0001 -> 0.0005",
        "lora.r: 16 -> 8",
    ]
    assert found[1].config.training.per_device_train_batch_size == 4
    assert found[1].config.experiment.name is None
    assert len({one.digest for one in found}) == 3


def test_several_changes_are_named_and_refused(folder: Path) -> None:
    """All files that change more than one parameter are named with what they change; unless they are allowed."""
    write(folder, "two", {"lora": {"r": 8, "dropout": 0.2}})
    write(folder, "three", {"lora": {"r": 8}, "loss": {"use_focal": True}, "training": {"weight_decay": 0}})
    with pytest.raises(UserError) as refused:
        read_experiments(folder)
    text = str(refused.value)
    assert "three.yaml (lora.r, training.weight_decay, loss.use_focal)" in text
    assert "two.yaml (lora.r, lora.dropout)" in text
    assert "hot.yaml" not in text
    assert len(read_experiments(folder, allow_several=True)) == 5


def test_a_file_that_changes_nothing(folder: Path) -> None:
    """It is refused: it would be the base again."""
    write(folder, "same", {"lora": {"r": 16}, "experiment": {"description": "other"}, "output_dir": "elsewhere"})
    with pytest.raises(UserError, match=r"same\.yaml: it changes nothing"):
        read_experiments(folder)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["learning_rate", "lora.r"], "names lora.r, which is as in the base"),
        (["lora.dropout"], "names lora.dropout"),
        (["learning_rate"], None),
        (["training.learning_rate"], None),
        (["rate"], "names rate"),
    ],
)
def test_what_is_said_to_be_tested(folder: Path, said: list[str], reason: str | None) -> None:
    """hyperparameters_under_test are the real differences, no more."""
    write(folder, "hot", {"training": {"learning_rate": 5e-4}, "experiment": {"hyperparameters_under_test": said}})
    if reason is None:
        read_experiments(folder)
        return
    with pytest.raises(UserError, match=reason):
        read_experiments(folder)


def test_a_change_that_is_not_said(folder: Path) -> None:
    """Nor less."""
    write(folder, "two", {"lora": {"r": 8, "dropout": 0.2}, "experiment": {"hyperparameters_under_test": ["lora.r"]}})
    with pytest.raises(UserError, match=r"it changes lora\.dropout, which"):
        read_experiments(folder, allow_several=True)


@pytest.mark.parametrize(
    ("scaling", "values", "rate"),
    [
        ("linear", {"per_device_train_batch_size": 16}, 4e-4),
        ("sqrt", {"per_device_train_batch_size": 16}, 2e-4),
        ("linear", {"gradient_accumulation_steps": 1}, 5e-5),
        ("none", {"per_device_train_batch_size": 16}, 1e-4),
        ("linear", {"weight_decay": 0.1}, 1e-4),
    ],
)
def test_the_learning_rate_follows_the_batch(folder: Path, scaling: Any, values: dict[str, Any], rate: float) -> None:
    """By the factor of the documents a step or its root; it is no second change, and it is said."""
    write(folder, "size", {"training": values})
    found = {one.name: one for one in read_experiments(folder, scaling=scaling)}["size"]
    assert found.config.training.learning_rate == pytest.approx(rate)
    assert len(found.changes) == 1
    assert ("learning rate scaled" in found.said) == (rate != 1e-4)


def test_a_rate_that_is_given_is_kept(folder: Path) -> None:
    """Scaling does not touch what an experiment says itself."""
    write(folder, "both", {"training": {"per_device_train_batch_size": 16, "learning_rate": 3e-4}})
    found = {one.name: one for one in read_experiments(folder, scaling="linear", allow_several=True)}["both"]
    assert found.config.training.learning_rate == 3e-4


def test_mistakes_in_the_folder(tmp_path: Path) -> None:
    """No base, nothing but a base, a wrong key with its line, two files of one name, an odd name."""
    with pytest.raises(UserError, match=r"no base\.yaml"):
        read_experiments(tmp_path)
    write(tmp_path, "base", BASE)
    with pytest.raises(UserError, match="besides the base"):
        read_experiments(tmp_path)
    (tmp_path / "hot.yaml").write_text("training:\n  learning_rat: 1\n")
    with pytest.raises(UserError, match=r"hot\.yaml:2: unknown key 'training\.learning_rat'"):
        read_experiments(tmp_path)
    write(tmp_path, "hot", {"lora": {"r": 4}})
    write(tmp_path, "hot", {"lora": {"r": 4}}).with_suffix(".yml").write_text("lora:\n  r: 5\n")
    with pytest.raises(UserError, match="two files have the same name"):
        read_experiments(tmp_path)
    (tmp_path / "hot.yml").rename(tmp_path / "a b.yml")
    with pytest.raises(UserError, match="call it by"):
        read_experiments(tmp_path)


def test_the_base_may_be_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """--base names it, inside or outside of the folder."""
    other = write(tmp_path_factory.mktemp("other"), "start", BASE)
    (folder / "base.yaml").unlink()
    assert [one.name for one in read_experiments(folder, base=other)] == ["base", "hot", "rank-8"]
    inside = write(folder, "start", BASE)
    assert [one.name for one in read_experiments(folder, base=inside)] == ["base", "hot", "rank-8"]


def leave_run(place: Place, losses: list[float], status: Any = "complete") -> None:
    """What training leaves."""
    rows = [{"step": 10 * at, "eval_loss": loss} for at, loss in enumerate(losses, start=1)]
    vl = {"evaluations": rows, "best": min(rows, key=lambda row: row["eval_loss"], default={}), "peak_memory_gib": 2.5}
    record = RunRecord(
        job_name="x", job_id="x", model="m", training_config={}, data_config={}, label_list=[], status=status, vl=vl
    )
    record.timings["train_s"] = 1800.0
    record.write(place.run / "run.json")


class Lab:
    """Stands for the two child processes: trains and scores by a list of what becomes of each experiment."""

    def __init__(self, failing: dict[str, str] | None = None) -> None:
        self.failing = failing or {}
        self.calls: list[str] = []

    def train(self, experiment: Experiment, place: Place) -> str | None:
        self.calls.append(f"train {experiment.name}")
        assert load_vl_config(place.config).training == experiment.config.training
        failure = self.failing.get(experiment.name)
        if failure == "interrupt":
            raise KeyboardInterrupt
        leave_run(place, [3.0] if failure else [3.0, 1.0, 2.0], "failed" if failure else "complete")
        return failure

    def evaluate(self, experiment: Experiment, place: Place) -> str | None:
        self.calls.append(f"evaluate {experiment.name}")
        if experiment.name == "rank-8":
            return "no documents to score on"
        evaluation = evaluate([predict(document(), document(tax=4))])
        write_evaluation(evaluation, EvaluationFiles(place.scores), {"model": "m"}, place.folder, NOON)
        return None

    def run(self, folder: Path, **options: Any) -> dict[str, Result]:
        options = {"train": self.train, "evaluate": self.evaluate, "now": lambda: NOON} | options
        results = run_experiments(read_experiments(folder), folder / "results", **options)
        return {result.name: result for result in results}


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
    leave_run(Place(folder / "results" / "base"), [1.0])
    lab = Lab()
    lab.run(folder)
    assert lab.calls[0] == "evaluate base"


def test_a_file_that_was_changed(folder: Path) -> None:
    """Its old result is not taken for the new one, and nothing is run."""
    Lab().run(folder)
    write(folder, "hot", {"training": {"learning_rate": 6e-4}})
    lab = Lab()
    with pytest.raises(UserError, match=r"hot\.yaml was changed"):
        lab.run(folder)
    assert lab.calls == []


def test_stability() -> None:
    """By hand: 1.2 and 1.5 are above 1.1 times the lowest before; the deviation of the last five over their mean."""
    assert stability([1.0]) == (None, None)
    assert stability([2.0, 1.0, 1.05, 1.2, 0.9, 1.5])[1] == 2
    spread, spikes = stability([9.0, 1.0, 3.0, 1.0, 3.0, 2.0])
    assert spread == pytest.approx((4 / 5) ** 0.5 / 2)
    assert spikes == 3
    assert stability([1.0, 1.0]) == (0.0, 0)


def result(name: str, **values: Any) -> Result:
    return Result.model_validate({"name": name, "digest": "", "changes": "", "status": "complete"} | values)


def test_ranking() -> None:
    """The best first; equal values share a place; missing values come after, failures last."""
    results = [
        result("none"),
        result("broken", status="failed", eval_loss=0.1),
        result("slow", eval_loss=0.5, field_accuracy=0.8, hours=2.0, spikes=0, spread=0.2),
        result("fast", eval_loss=0.5, field_accuracy=0.7, hours=1.0, spikes=0, spread=0.1),
        result("low", eval_loss=0.4, teds=0.9, spikes=1, spread=0.0),
    ]
    by_loss = rank(results, "eval_loss")
    assert [one.result.name for one in by_loss] == ["low", "slow", "fast", "none", "broken"]
    assert [one.places["eval_loss"] for one in by_loss] == [1, 2, 2, None, None]
    assert [one.result.name for one in rank(results, "field_accuracy")] == ["slow", "fast", "low", "none", "broken"]
    assert [one.result.name for one in rank(results, "time")] == ["fast", "slow", "low", "none", "broken"]
    assert [one.result.name for one in rank(results, "stability")] == ["fast", "slow", "low", "none", "broken"]
    assert rank(results, "teds")[0].result.name == "low"


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
