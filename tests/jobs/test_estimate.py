"""What a job will take, from runs that were measured."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract.run_record import EpochMetrics, LayoutLMRecord
from receipt_trainer.jobs import estimate
from receipt_trainer.jobs import estimate as measured
from receipt_trainer.jobs.estimate import HISTORY, Measured, Run
from tests.cli.jobs import add_job
from tests.fault_proxy import FaultProxy

G6, G5 = "g6.xlarge", "g5.xlarge"


def spec(model: str = "microsoft/layoutlm-base-uncased", **keys: Any) -> dict[str, Any]:
    """A resolved job of the first family; keys of either configuration."""
    training: dict[str, Any] = {"num_epochs": 10.0, "max_steps": 0, "batch_size": 8, "early_stopping_patience": 0}
    data = {"dataset_name": "dynamodb", "max_samples": None, "examples": "receipt", "augment": True}
    training |= {name: value for name, value in keys.items() if name in training}
    data |= {name: value for name, value in keys.items() if name not in training}
    return {"model": model, "training_config": training, "data_config": data}


def run(kind: str | None = G6, rate: float = 1000.0, tokens: int = 60_000, **keys: Any) -> Run:
    """A run of ten epochs and 100 steps."""
    return Run(spec(**keys), Measured(tokens, 10.0, 100, rate, 30.0, kind))


def test_tokens_times_epochs_over_the_measured_speed() -> None:
    """60,000 tokens, 10 epochs, the median of three speeds, and 30 s around training."""
    found = estimate.estimate(spec(), [run(rate=rate) for rate in (900.0, 1000.0, 5000.0)], [G6, G5])
    assert (found.seconds, found.tokens_per_s, found.num_runs, found.instance_type) == (630.0, 1000.0, 3, G6)
    assert estimate.estimate(spec(num_epochs=5.0), [run()], [G6]).seconds == 330.0
    assert estimate.estimate(spec(early_stopping_patience=3), [run()], [G6]).is_at_most


def test_one_type_is_measured_by_its_own_runs_alone() -> None:
    """The type of the newest run counts; one that the pool does not have does not."""
    history = [run(G5, 2000.0), run(G6, 1000.0), run("c7i.2xlarge", 10.0)]
    assert estimate.estimate(spec(), history, [G6, G5]).tokens_per_s == 2000.0
    assert estimate.estimate(spec(), history, [G6]).tokens_per_s == 1000.0
    assert estimate.estimate(spec(), history, ["p5.48xlarge"]).seconds is None
    assert estimate.estimate(spec(), [run(None)], None).seconds == 630.0


def test_other_data_has_another_number_of_tokens() -> None:
    """It comes from any run on the same data, whatever that one trained; boxes that are moved change none."""
    history = [run(max_samples=5), run(tokens=6_000, max_samples=50, model="tiny")]
    assert estimate.estimate(spec(max_samples=5, augment=False), history, [G6]).seconds == 630.0
    found = estimate.estimate(spec(max_samples=50), history, [G6])
    assert (found.seconds, found.tokens_per_s) == (None, 1000.0)
    assert "how many tokens" in (found.why or "")


@pytest.mark.parametrize("keys", [{"model": "tiny"}, {"examples": "line"}, {"o_entity_ratio": 2.0}])
def test_another_recipe_is_unknown(keys: dict[str, Any]) -> None:
    """Model, kind of examples and their sampling decide how fast a machine is: nothing is guessed from others."""
    found = estimate.estimate(spec(**keys), [run()], [G6])
    assert (found.seconds, found.num_runs) == (None, 0)
    assert "no earlier run of this recipe" in (found.why or "")


def test_steps_are_epochs_of_the_same_batches() -> None:
    """100 steps were 10 epochs: 50 are 5. With other batches the steps of an epoch are unknown."""
    assert estimate.estimate(spec(max_steps=50), [run()], [G6]).seconds == 330.0
    found = estimate.estimate(spec(max_steps=50, batch_size=16), [run()], [G6])
    assert (found.seconds, "how many steps" in (found.why or "")) == (None, True)


def record(**more: Any) -> LayoutLMRecord:
    """A complete run of 60,000 tokens an epoch, ten epochs, 100 steps, of which this attempt took 600 s."""
    made = LayoutLMRecord(job_name="a", job_id="b", model="tiny", training_config={}, data_config={}, label_list=[])
    made.dataset_counts = {"train": {"tokens": 60_000}}
    made.timings = {"steps": 100, "train_this_attempt_s": 600.0}
    made.epoch_metrics = [EpochMetrics(epoch=10.0, step=100, precision=1, recall=1, f1=1, elapsed_s=600)]
    return made.model_copy(update=more)


def test_a_run_is_measured_by_its_last_attempt() -> None:
    """Its share of the steps over its own seconds; what came around training is its overhead."""
    assert measured.measure(record(), 0, 640.0, G6) == Measured(60_000, 10.0, 100, 1000.0, 40.0, G6)
    resumed = measured.measure(record(), 50, 640.0, G6)
    assert resumed is not None
    assert resumed.tokens_per_s == 500.0


@pytest.mark.parametrize(
    ("made", "start_step", "seconds"),
    [(record(), 95, 640.0), (record(), 100, 5.0), (record(timings={}), 0, 640.0), (record(epoch_metrics=[]), 0, 640.0)],
)
def test_what_says_little_is_not_measured(made: LayoutLMRecord, start_step: int, seconds: float) -> None:
    """An attempt of the last steps, one that only delivers, a record without times or without an evaluation."""
    assert measured.measure(made, start_step, seconds, G6) is None


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", '{"tokens": "x"}', "nonsense"])
def test_rows_of_older_and_newer_trainers(text: str | None) -> None:
    """A row that says nothing, or something else, is no measurement; one with more than we know is."""
    assert measured.read(text) is None
    one = Measured(60_000, 10.0, 100, 1000.0, 40.0, None)
    assert measured.read(one.to_text()) == one
    assert measured.read(json.dumps(json.loads(one.to_text()) | {"newer": 1})) == one


def test_history_is_one_request_however_many_jobs_there_are(jobs_table: str, fault_proxy: FaultProxy) -> None:
    """The newest fifty that succeeded, without those that say nothing."""
    client = clients.dynamodb()
    for minute in range(HISTORY + 5):
        speed = Measured(minute + 1, 10.0, 100, 1000.0, 30.0, G6).to_text() if minute % 2 else None
        said = {"measured": speed} if speed else {}
        add_job(jobs_table, status="SUCCEEDED", minutes=minute, spec=json.dumps(spec()), **said)
    before = fault_proxy.calls["Query"]
    found = estimate.read_history(Table(client, jobs_table))
    assert fault_proxy.calls["Query"] - before == 1
    assert [one.measured.tokens for one in found] == list(range(HISTORY + 4, 5, -2))
    # One that a newer trainer wrote takes a place of the fifty.
    dynamo.put(client, jobs_table, {"PK": "JOB#x", "SK": "JOB", "GSI1PK": "STATUS#SUCCEEDED", "GSI1SK": "9"}, "put")
    assert len(estimate.read_history(Table(client, jobs_table))) == len(found) - 1
