from __future__ import annotations

import sys
from statistics import fmean

import pytest

from receipt_trainer.errors import UserError
from receipt_trainer.sweep import optuna_adapter
from receipt_trainer.sweep.definition import Definition
from receipt_trainer.sweep.trial import SeedRun, Trial
from tests.sweep.world import axis, definition


def search(**more: object) -> Definition:
    axes = (axis("learning_rate", "1e-5:1e-3"), axis("batch_size", "4:64"), axis("allowed_labels", "[TOTAL],[DATE]"))
    return definition(*axes, **{"method": "tpe", "num_trials": 40, **more})


def complete(number: int, params: dict[str, object], f1: float) -> Trial:
    return Trial("s", number, params, (SeedRun(0, f"job-{number}", "SUCCEEDED", f1),), "COMPLETE")


def test_tpe_learns() -> None:
    """Where F1 falls with the rate, trials after the random ones are better on average."""
    of, trials = search(), list[Trial]()
    for number in range(40):
        params = optuna_adapter.propose(of, trials)
        trials.append(complete(number, params, 0.9 - params["learning_rate"] * 100))
    values = [trial.value or 0.0 for trial in trials]
    assert fmean(values[-10:]) > fmean(values[:10])


def test_proposals_are_values_of_the_axes() -> None:
    """Inside the ranges, whole numbers where the field is one, choices as they were given, lists too."""
    of = search(method="random")
    drawn = [optuna_adapter.propose(of, [complete(at, {}, 0.5)] * at) for at in range(20)]
    assert all(1e-5 <= one["learning_rate"] <= 1e-3 for one in drawn)
    assert all(isinstance(one["batch_size"], int) and 4 <= one["batch_size"] <= 64 for one in drawn)
    assert {str(one["allowed_labels"]) for one in drawn} == {"['TOTAL']", "['DATE']"}
    below = sum(one["learning_rate"] < 1e-4 for one in drawn)
    assert 4 <= below <= 16  # half of them, as the logarithm has it; a tenth would be 2


def test_a_proposal_depends_on_what_is_stored_alone() -> None:
    """The same trials give the same proposal; another seed, number or result another one."""
    of = search()
    trials: list[Trial] = []
    for number in range(12):
        trials.append(complete(number, optuna_adapter.propose(of, trials), 0.5 + number / 100))
    again = [Trial.from_row(trial.to_row()) for trial in trials]
    assert optuna_adapter.propose(of, again) == optuna_adapter.propose(of, trials)
    turned = [complete(trial.number, dict(trial.params), 1 - (trial.value or 0)) for trial in trials]
    assert optuna_adapter.propose(of, turned) != optuna_adapter.propose(of, trials)
    assert optuna_adapter.propose(search(sampler_seed=1), trials) != optuna_adapter.propose(of, trials)


def test_trials_without_a_score_are_known_and_not_learned_from() -> None:
    """Failed, pruned and running trials may stand between the others."""
    of = search()
    params = optuna_adapter.propose(of, [])
    trials = [
        Trial("s", 0, params, (), "FAILED"),
        Trial("s", 1, params, (SeedRun(0, "a", "CANCELLED", curve=(0.1, 0.2)),), "PRUNED"),
        Trial("s", 2, params, (SeedRun(0, "b", "RUNNING", curve=(0.1,)),), "QUEUED"),
        Trial("s", 3, params, (SeedRun(0, "c", "SUCCEEDED", None),), "COMPLETE"),
    ]
    assert optuna_adapter.propose(of, trials).keys() == {"learning_rate", "batch_size", "allowed_labels"}


def test_a_held_trial_is_one_that_goes_on() -> None:
    """It was trained and has no score yet: to the sampler that is no failure, but a place that is taken."""
    of = search()
    params = optuna_adapter.propose(of, [])
    held = optuna_adapter._frozen(of, Trial("s", 0, params, (SeedRun(0, "a", "INTERRUPTED", curve=(0.1,)),), "HELD"))
    assert (held.state.name, held.value) == ("RUNNING", None)


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what is missing and how to install it."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'receipt-trainer\[sweep\]'"):
        optuna_adapter.check_optuna()
