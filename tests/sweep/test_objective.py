from __future__ import annotations

from typing import Any

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.contract.run_record import AnswerScores, PaddleOcrVlRecord
from receipt_trainer.errors import UserError
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.sweep import plan
from receipt_trainer.sweep.definition import OBJECTIVES, Definition, choose
from receipt_trainer.sweep.ranking import Scores, judge, ranked, verdict_of
from receipt_trainer.sweep.trial import SeedRun, Trial
from tests.sweep.world import World, axis, vl_definition

LOSS = OBJECTIVES["eval_loss"]


@pytest.fixture
def world(jobs_table: str) -> World:
    return World(jobs_table, lambda training: 0.5)


def rank_sweep(world: World, **more: Any) -> Definition:
    return vl_definition(axis("lora.r", "1,2,3,4,5,6,7", "paddleocr-vl"), queue_url=world.queue_url, **more)


def complete(number: int, params: dict[str, Any], *scores: float) -> Trial:
    runs = tuple(SeedRun(seed, f"{number}-{seed}", "SUCCEEDED", score) for seed, score in enumerate(scores))
    return Trial("v", number, params, runs, "COMPLETE")


def test_the_familys_own_is_the_default() -> None:
    """F1 for the first family, the loss for the second; what a family lacks, or cannot be pruned by, is refused."""
    assert choose("layoutlm", None, prune=True) == "f1"
    assert choose("paddleocr-vl", None, prune=True) == "eval_loss"
    assert choose("paddleocr-vl", "teds", prune=False) == "teds"
    with pytest.raises(UserError, match="--objective f1: runs of the family paddleocr-vl have eval_loss, field_acc"):
        choose("paddleocr-vl", "f1", prune=False)
    with pytest.raises(UserError, match="teds is known only at the end"):
        choose("paddleocr-vl", "teds", prune=True)


def test_a_definition_from_before_there_were_objectives() -> None:
    """It ranks by F1, as it did."""
    text = vl_definition(objective="f1").model_dump(mode="json", exclude={"objective", "family"})
    assert Definition.model_validate(text).goal.name == "f1"


@pytest.mark.parametrize(("objective", "order"), [("eval_loss", [1, 0, 2]), ("teds", [0, 1, 2])])
def test_the_best_is_first(objective: Any, order: list[int]) -> None:
    """The lowest loss or the highest share, in the table and in the verdict; trials without a score follow."""
    of = vl_definition(axis("lora.r", "1,2,3", "paddleocr-vl"), objective=objective, seeds=(0, 1, 2))
    trials = [
        complete(0, {"lora.r": 1}, 0.90, 0.91, 0.92),
        complete(1, {"lora.r": 2}, 0.10, 0.11, 0.12),
        Trial("v", 2, {"lora.r": 3}, (SeedRun(0, "x", "RUNNING"),), "QUEUED"),
    ]
    assert [result.number for result in ranked(trials, of.goal)] == order
    verdict = verdict_of(of, trials)
    assert (verdict.best, verdict.is_better) == (order[0], True)


def test_the_verdict_on_losses() -> None:
    """The lowest mean is the best, says so, and is better where the whole interval is below zero."""
    low, high = Scores(0, (0.10, 0.11, 0.12)), Scores(1, (0.20, 0.21, 0.22))
    verdict = judge([high, low], base=1, objective=LOSS)
    assert (verdict.best, verdict.is_better) == (0, True)
    assert verdict.text.startswith("Trial 0 has the lowest mean eval loss of 2 (lower is better): 0.1100 over 3 seeds.")
    assert "It is better than the runner-up (trial 1): the difference is -0.1000" in verdict.text
    same = judge([high, Scores(0, (0.19, 0.21, 0.22))], objective=LOSS)
    assert (same.best, same.is_better) == (0, False)


def test_the_loss_of_a_run_is_its_lowest(world: World) -> None:
    """That of the model that is kept; a run that goes on has none yet, and shows its last."""
    driver = world.driver(rank_sweep(world))
    first, second, *_ = driver.advance()
    done, going = (world.claim(trial.runs[0].job_id) for trial in (first, second))
    world.evaluate(done, [0.9, 0.4, 0.5], "eval_loss")
    world.jobs.succeed(done, None, None)
    world.evaluate(going, [0.8, 0.7], "eval_loss")
    first, second, *_ = driver.advance()
    assert (first.value, first.curve) == (0.4, (0.9, 0.4, 0.5))
    assert (second.value, second.last_score) == (None, 0.7)


def test_scores_that_are_known_at_the_end(world: World, aws: LocalCloud) -> None:
    """From the run's record, else from its metrics; a run that left none is complete without one, and is told of."""
    driver = world.driver(rank_sweep(world, objective="field_accuracy"))
    attempts = [world.claim(trial.runs[0].job_id) for trial in driver.advance()[:3]]
    recorded, measured, neither = (attempt for attempt in attempts if attempt is not None)
    scores = {"field_accuracy": 0.7, "teds": None, "regions": {"header": 0.9, "table": 0.5, "client": None}}
    run = PaddleOcrVlRecord(job_name="j", job_id="1", model="m", training_config={}, data_config={})
    run.vl.scores = AnswerScores.model_validate(scores)
    body = run.model_dump_json().encode()
    clients.s3().put_object(Bucket=aws.bucket, Key=f"runs/{recorded.job_id}/run.json", Body=body)
    world.jobs.succeed(recorded, None, f"s3://{aws.bucket}/runs/{recorded.job_id}")
    world.evaluate(measured, [0.6], "field_accuracy")
    world.jobs.succeed(measured, None, None)
    world.jobs.succeed(neither, None, None)
    trials = driver.advance()
    assert [trial.value for trial in trials[:3]] == [0.7, 0.6, None]
    assert trials[0].per_region == {"header": 0.9, "table": 0.5}
    assert [trial.state for trial in trials[:3]] == ["COMPLETE"] * 3
    assert f"job {neither.job_id} has succeeded and has left no field_accuracy" == driver.observer.complaint


def test_trials_of_sections() -> None:
    """A value goes into its section, and the base stays as it was; what no job can have is refused."""
    of = vl_definition(axis("lora.r", "4,8", "paddleocr-vl"), axis("loss.use_focal", "true", "paddleocr-vl"))
    trials = plan.expand(of)
    found = [plan.overrides(of, trial)["training_config"] for trial in trials]
    assert [(one["lora"]["r"], one["lora"]["dropout"], one["loss"]["use_focal"]) for one in found] == [
        (4, 0.05, True),
        (8, 0.05, True),
    ]
    assert of.base["training_config"]["lora"]["r"] == 16 == plan.base_params(of)["lora.r"]
    wrong = vl_definition(
        axis("use_quantization", "true", "paddleocr-vl"), axis("lora.enabled", "true,false", "paddleocr-vl")
    )
    with pytest.raises(UserError, match=r"trial 1 .*needs lora.enabled"):
        plan.expand(wrong)
