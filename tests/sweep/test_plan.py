from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.model import Job
from receipt_trainer.sweep import plan
from receipt_trainer.sweep.definition import Definition, base_of, default_name, refuse_other
from tests.sweep.world import axis, definition, vl_definition

VALUES = {
    "learning_rate": [1e-4, 5e-5, 3e-5, 1e-5],
    "batch_size": [4, 8, 16],
    "num_epochs": [3.0, 10.0],
    "augment": [True, False],
    "lr_scheduler": ["linear", "cosine"],
}


@st.composite
def axes(draw: st.DrawFn) -> list[Any]:
    """Some of the axes, each with some of its values in some order."""
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, min_size=1))
    chosen = {key: draw(st.lists(st.sampled_from(VALUES[key]), unique=True, min_size=1)) for key in keys}
    return [axis(key, ",".join(str(value) for value in values)) for key, values in chosen.items()]


@given(axes())
def test_a_grid_has_every_combination_once(given_axes: list[Any]) -> None:
    """As many trials as the product of the lists, all different, each of values of its axes, in a fixed order."""
    of = definition(*given_axes)
    trials = plan.expand(of)
    size = 1
    for one in given_axes:
        size *= len(one.choices)
    assert len(trials) == size == plan.num_planned(of)
    assert len({plan.text_of(trial) for trial in trials}) == size
    assert all(trial[one.key] in one.choices for trial in trials for one in given_axes)
    assert plan.expand(Definition.from_text(of.to_text(), "s")) == trials


def test_the_trials_of_a_sweep_send_no_notices() -> None:
    """A job file that asks for a notice asks for none a trial, and is the base that it is without."""
    asking, silent = (LayoutLMJob(job_name="s", model="tiny", notify=notify) for notify in (True, None))
    assert base_of(asking, None) == base_of(silent, None)
    of = definition(axis("num_epochs", "3,10"))
    of = of.model_copy(update={"base": base_of(asking, {"seed": 1}), "queue_url": "q"})
    assert plan.job_of(of, 0, {"num_epochs": 3.0}, 1).spec.get("notify") is None


@given(axes())
def test_one_at_a_time_changes_one_thing(given_axes: list[Any]) -> None:
    """The base is first; every other trial differs from it in one value, and every value other than its own occurs."""
    of = definition(*given_axes, method="one-at-a-time")
    base, *others = plan.expand(of)
    assert base == plan.base_params(of)
    changed = [[(key, value) for key, value in trial.items() if value != base[key]] for trial in others]
    assert all(len(one) == 1 for one in changed)
    assert [one[0] for one in changed] == [
        (one.key, value) for one in given_axes for value in one.choices if value != base[one.key]
    ]


@pytest.mark.parametrize(
    ("rule", "batch", "steps", "rate"),
    [
        ("linear", 16, 1, 2e-4),
        ("sqrt", 32, 1, 2e-4),
        ("linear", 4, 1, 5e-5),
        ("linear", 8, 4, 4e-4),
        ("none", 16, 1, 1e-4),
    ],
)
def test_learning_rates_scale_with_the_batch(rule: Any, batch: int, steps: int, rate: float) -> None:
    """Twice the examples a step: twice the rate (linear), or times the root of two (sqrt); accumulation counts."""
    of = definition(axis("batch_size", f"{batch}"), axis("gradient_accumulation_steps", f"{steps}"), scale_lr=rule)
    (trial,) = plan.expand(of)
    assert plan.overrides(of, trial)["training_config"]["learning_rate"] == pytest.approx(rate, rel=1e-12)


def test_the_learning_rate_scales_in_the_second_family() -> None:
    """By its batch size, whatever that is called there."""
    of = vl_definition(axis("batch_size", "8,32", "paddleocr-vl"), scale_lr="sqrt")
    rates = [plan.overrides(of, trial)["training_config"]["learning_rate"] for trial in plan.expand(of)]
    assert rates == pytest.approx([2e-5, 4e-5])


def test_values_that_contradict_each_other() -> None:
    """The first combination that no job could have is named, before anything is stored."""
    of = definition(axis("max_length", "64,512"), axis("window_stride", "16,128"))
    with pytest.raises(UserError, match=r"trial 1 \(max_length 64, window_stride 128\): .*must be below max_length"):
        plan.expand(of)


def test_a_grid_without_end() -> None:
    """More than 1,000 trials are refused without being listed."""
    many = ",".join(str(number) for number in range(1, 101))
    of = definition(axis("num_epochs", many), axis("batch_size", many), axis("max_samples", many))
    with pytest.raises(UserError, match="1,000,000 trials"):
        plan.expand(of)


def job(seed: int = 1, **more: Any) -> Job:
    of = definition(axis("learning_rate", "1e-5,2e-5"), queue_url="https://queue/a.fifo", **more)
    return plan.job_of(of, 3, {"learning_rate": 2e-5}, seed)


def test_the_job_of_a_trial() -> None:
    """It has the trial's value and seed, the base's rest, tags to find it by, and a name that says whose it is."""
    made = job(seed=7)
    training = made.spec["training_config"]
    assert (training["learning_rate"], training["seed"], training["batch_size"]) == (2e-5, 7, 8)
    assert made.tags == {"sweep": "s", "trial": "3", "seed": "7"}
    assert made.name == "s-t3-s7"


def test_the_same_trial_is_the_same_job() -> None:
    """Sweep, values and seed make the id; each of them changes it."""
    assert job().job_id == job().job_id
    assert len({job().job_id, job(seed=2).job_id, job(name="t").job_id}) == 3


def test_another_definition_is_refused() -> None:
    """The line says what differs, and how to go on with the sweep that is there."""
    stored = definition(axis("learning_rate", "1e-5,2e-5"))
    refuse_other(Definition.from_text(stored.to_text(), "s"), stored)
    with pytest.raises(UserError) as caught:
        refuse_other(definition(axis("learning_rate", "1e-5,3e-5"), seeds=(0, 1), training={"batch_size": 4}), stored)
    for part in (
        "axes.learning_rate is learning_rate 1e-05, 2e-05 there and learning_rate 1e-05, 3e-05 here",
        "base.training_config.batch_size is 8 there and 4 here",
        "seeds is [0] there and [0, 1] here",
        "--resume s",
    ):
        assert part in str(caught.value)


def test_the_default_name_follows_from_the_definition() -> None:
    """The same command finds its sweep again; another one gets another name."""
    one, two = definition(axis("batch_size", "4")), definition(axis("batch_size", "4,8"))
    assert default_name(one) == default_name(one.model_copy(update={"name": "other"})) != default_name(two)
