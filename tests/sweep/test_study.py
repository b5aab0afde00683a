"""What Optuna makes of a sweep's stored trials: proposals and pruning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from statistics import fmean
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage

from receipt_trainer.aws import clients
from receipt_trainer.sweep.definition import Definition
from receipt_trainer.sweep.journal import JobsTableJournal
from receipt_trainer.sweep.store import SweepTable
from receipt_trainer.sweep.study import SweepStudy
from receipt_trainer.sweep.trial import SeedRun, Trial
from tests.sweep.world import axis, definition, vl_definition

Begin = Callable[[Definition], SweepStudy]


@pytest.fixture
def begin(jobs_table: str) -> Begin:
    """Opens the study of a sweep, as a new process does."""

    def opened(of: Definition) -> SweepStudy:
        study = SweepStudy(of, SweepTable(clients.dynamodb(), jobs_table))
        study.begin()
        return study

    return opened


def search(**more: object) -> Definition:
    axes = (axis("learning_rate", "1e-5:1e-3"), axis("batch_size", "4:64"), axis("allowed_labels", "[TOTAL],[DATE]"))
    return definition(*axes, **{"method": "tpe", "num_trials": 40, **more})


def complete(of: Definition, number: int, params: Mapping[str, Any], score: float) -> Trial:
    return Trial(of.name, number, params, (SeedRun(0, f"job-{number}", "SUCCEEDED", score),), "COMPLETE")


class EnoughError(Exception):
    """A proposal was seen; it is not stored."""


def ahead(study: SweepStudy, number: int) -> dict[str, Any]:
    """What the study would propose."""
    seen: list[dict[str, Any]] = []

    def become(params: dict[str, Any]) -> Trial:
        seen.append(params)
        raise EnoughError

    with suppress(EnoughError):
        study.propose(number, become)
    return seen[0]


@pytest.mark.parametrize(
    ("of", "sign"),
    [
        (search(name="f1"), -1),
        (vl_definition(axis("learning_rate", "1e-5:1e-3", "paddleocr-vl"), name="loss", method="tpe", num_trials=9), 1),
    ],
    ids=["F1", "loss"],
)
def test_tpe_learns(begin: Begin, of: Definition, sign: int) -> None:
    """Where the score worsens with the rate, trials after the random ones are better on average."""
    study = begin(of)
    for number in range(30):
        trial = study.propose(number, partial(Trial, of.name, number))
        assert trial is not None
        study.change(trial, complete(of, number, trial.params, 0.5 + sign * trial.params["learning_rate"] * 100))
    costs = [sign * (trial.value or 0.0) for trial in study.trials()]
    assert fmean(costs[-10:]) < fmean(costs[:10])


def test_proposals_are_values_of_the_axes(begin: Begin) -> None:
    """Inside the ranges, whole numbers where the field is one, choices as they were given, lists too."""
    study = begin(search(method="random"))
    drawn = [ahead(study, number) for number in range(20)]
    assert all(1e-5 <= one["learning_rate"] <= 1e-3 for one in drawn)
    assert all(isinstance(one["batch_size"], int) and 4 <= one["batch_size"] <= 64 for one in drawn)
    assert {str(one["allowed_labels"]) for one in drawn} == {"['TOTAL']", "['DATE']"}
    below = sum(one["learning_rate"] < 1e-4 for one in drawn)
    assert 4 <= below <= 16  # half of them, as the logarithm has it; a tenth would be 2


def test_a_proposal_depends_on_what_is_stored_alone(begin: Begin) -> None:
    """Another process proposes the same; another sampler's seed, number or result make another proposal."""
    proposals = []
    for name, turn in (("a", 1), ("b", -1)):
        of = search(name=name)
        study = begin(of)
        fixed = begin(search(name="fixed"))
        for number in range(12):
            study.add(complete(of, number, ahead(fixed, number), 0.5 + turn * number / 100))
        proposals.append(ahead(study, 12))
        assert ahead(begin(of), 12) == ahead(study, 12) != ahead(study, 13)
        assert ahead(begin(of.model_copy(update={"sampler_seed": 1})), 12) != ahead(study, 12)
    assert proposals[0] != proposals[1]


def test_what_samplers_take_trials_for(begin: Begin, jobs_table: str) -> None:
    """Running and held ones are places that are taken, failed ones and doubles nothing, pruned ones have a curve."""
    of = search()
    study = begin(of)
    params = ahead(study, 0)
    trials = [
        Trial("s", 0, params, (), "FAILED"),
        Trial("s", 1, params, (SeedRun(0, "a", "CANCELLED", curve=(0.1, 0.2)),), "PRUNED"),
        Trial("s", 2, params, (SeedRun(0, "b", "RUNNING", curve=(0.1,)),), "QUEUED"),
        Trial("s", 3, params, (SeedRun(0, "c", "SUCCEEDED", None),), "COMPLETE"),
        Trial("s", 4, params, (SeedRun(0, "d", "INTERRUPTED", curve=(0.1,)),), "HELD"),
        complete(of, 5, params, 0.5),
        Trial("s", 6, params, same_as=5),
    ]
    assert all(study.add(trial) for trial in trials)
    assert not study.add(trials[3])
    storage = JournalStorage(JobsTableJournal(clients.dynamodb(), jobs_table, "s"))
    stored = optuna.load_study(study_name="s", storage=storage).trials
    names = [trial.state.name for trial in stored]
    assert names == ["FAIL", "PRUNED", "RUNNING", "FAIL", "RUNNING", "COMPLETE", "FAIL"]
    assert (stored[1].intermediate_values, stored[5].value) == ({1: 0.1, 2: 0.2}, 0.5)
    assert begin(of).trials()[:6] == trials[:6]
    assert begin(of).trials()[6].scores == (0.5,)
    assert ahead(study, 7).keys() == params.keys()


def test_what_is_stored_comes_back_as_it_was(begin: Begin) -> None:
    """Numbers to the last digit, lists, and what is unset; what a newer version adds is left out."""
    run = SeedRun(3, "id", "SUCCEEDED", 0.1 + 0.2, None, 1 / 3, 1e-9, 1, (0.1, 2 / 3), {"TOTAL": 1 / 7})
    trial = Trial("s", 0, {"learning_rate": 1e-5 / 3, "allowed_labels": ["A"], "dropout": None}, (run,), "COMPLETE")
    of = definition(axis("learning_rate", "1e-5"))
    begin(of).add(trial)
    assert begin(of).trials() == [trial]
    assert Trial.from_plain("s", trial.to_plain() | {"added": "later"}) == trial


def test_a_change_that_somebody_else_made_before(begin: Begin) -> None:
    """The later one is only what was seen; where others changed other trials, it is stored all the same."""
    of = definition(axis("num_epochs", "1,2"))
    one, two = begin(of), begin(of)
    trials = [Trial("s", number, {"num_epochs": number}, (), "QUEUED") for number in range(2)]
    assert all(one.add(trial) for trial in trials)
    assert two.change(trials[1], complete(of, 1, {}, 0.5)).version == 2
    assert one.change(trials[0], complete(of, 0, {}, 0.4)).version == 2
    late = two.change(trials[0], complete(of, 0, {}, 0.9))
    assert (late.value, late.version) == (0.9, 1)
    assert [trial.value for trial in two.trials()] == [0.4, 0.5]


@pytest.mark.parametrize(
    ("curve", "num_complete", "is_hopeless"),
    [((0.9, 0.8), 5, True), ((0.5, 0.3), 5, False), ((0.9,), 5, False), ((0.9, 0.8), 4, False)],
    ids=["worse", "better", "first evaluation", "few complete"],
)
def test_losses_above_the_median_are_hopeless(
    begin: Begin, curve: tuple[float, ...], num_complete: int, is_hopeless: bool
) -> None:
    """The lower half goes on; a slow starter gets a second epoch, and a median of few is none."""
    of = vl_definition(axis("lora.r", "1,2,3,4,5,6", "paddleocr-vl"), prune=True)
    study = begin(of)
    for at, loss in enumerate((0.4, 0.5, 0.6, 0.65, 0.7)[:num_complete]):
        run = SeedRun(0, str(at), "SUCCEEDED", loss, curve=(0.9, loss))
        study.add(Trial("v", at, {"lora.r": at + 1}, (run,), "COMPLETE"))
    running = Trial("v", 5, {"lora.r": 6}, (SeedRun(0, "x", "RUNNING", curve=curve),), "QUEUED")
    assert study.is_hopeless(running) is is_hopeless
