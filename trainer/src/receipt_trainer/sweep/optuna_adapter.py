"""Optuna's samplers and pruner, fed with what is stored: a proposal depends on nothing that a process remembers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.errors import UserError
from receipt_trainer.sweep.definition import Definition
from receipt_trainer.sweep.search_space import Axis
from receipt_trainer.sweep.trial import ENDED, Trial

if TYPE_CHECKING:
    from optuna import Study

NUM_STARTUP: Final = 10
"""Random trials before TPE draws conclusions (Optuna's default)."""
PRUNE_AFTER_TRIALS: Final = 5
"""Complete trials before anything is pruned (Optuna's default)."""
FIRST_PRUNED: Final = 2
"""The first evaluation at which a trial may be pruned: after one epoch a slow starter looks worse than it is."""


def check_optuna() -> None:
    """Look for Optuna before anything is stored.

    Raises:
        UserError: it is not installed; says how to install it.
    """
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError(
            "--search random, --search tpe and --prune need Optuna: pip install 'receipt-trainer[sweep]'"
        ) from None


def propose(definition: Definition, earlier: Sequence[Trial]) -> dict[str, Any]:
    """The values of trial number len(earlier).

    They follow from the definition, the number and, for TPE, what the earlier trials are: whoever continues a sweep
    proposes what the one that was stopped would have proposed.
    """
    seed = _seed(definition, len(earlier))
    with _quiet() as optuna:
        if definition.method == "random":
            study = _study(definition, (), optuna.samplers.RandomSampler(seed=seed), None)
        else:
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=NUM_STARTUP, constant_liar=True)
            study = _study(definition, earlier, sampler, None)
        drawn = study.ask(_distributions(definition)).params
    return {axis.key: _value(axis, drawn[axis.key]) for axis in definition.axes}


def is_hopeless(definition: Definition, trial: Trial, others: Sequence[Trial]) -> bool:
    """Whether the trial's best evaluation so far is worse than the median of complete trials at the same evaluation."""
    if len(trial.curve) < FIRST_PRUNED:
        return False
    complete = [other for other in others if other.value is not None and other.same_as is None]
    with _quiet() as optuna:
        pruner = optuna.pruners.MedianPruner(n_startup_trials=PRUNE_AFTER_TRIALS, n_warmup_steps=FIRST_PRUNED)
        study = _study(definition, complete, optuna.samplers.RandomSampler(seed=0), pruner)
        asked = study.ask()
        for step, value in enumerate(trial.curve, start=1):
            asked.report(value, step)
        return bool(asked.should_prune())


def _study(definition: Definition, trials: Sequence[Trial], sampler: Any, pruner: Any) -> Study:
    import optuna

    directions = optuna.study.StudyDirection
    direction = directions.MINIMIZE if definition.goal.is_lower_better else directions.MAXIMIZE
    study = optuna.create_study(direction=direction, sampler=sampler, pruner=pruner)
    for trial in trials:
        study.add_trial(_frozen(definition, trial))
    return study


def _frozen(definition: Definition, trial: Trial) -> Any:
    from optuna.trial import TrialState, create_trial

    state = TrialState.RUNNING
    if trial.state in ENDED and trial.state != "HELD":  # trained, and its score may still come: no failure
        ended = {"COMPLETE": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED}
        state = ended.get(trial.state, TrialState.FAIL)
        if trial.state == "COMPLETE" and trial.value is None:
            state = TrialState.FAIL
    return create_trial(
        state=state,
        value=trial.value if state == TrialState.COMPLETE else None,
        params={axis.key: _drawn(axis, trial.params[axis.key]) for axis in definition.axes},
        distributions=_distributions(definition),
        intermediate_values=dict(enumerate(trial.curve, start=1)),
    )


def _distributions(definition: Definition) -> dict[str, Any]:
    from optuna import distributions

    found: dict[str, Any] = {}
    for axis in definition.axes:
        if axis.low is None or axis.high is None:
            found[axis.key] = distributions.CategoricalDistribution(tuple(range(len(axis.choices))))
        elif axis.is_whole:
            found[axis.key] = distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.is_log)
        else:
            found[axis.key] = distributions.FloatDistribution(axis.low, axis.high, log=axis.is_log)
    return found


def _value(axis: Axis, drawn: Any) -> Any:
    """Choices are drawn by their place: Optuna takes no lists and no mappings."""
    return drawn if axis.is_range else axis.choices[drawn]


def _drawn(axis: Axis, value: Any) -> Any:
    return value if axis.is_range else axis.choices.index(value)


def _seed(definition: Definition, number: int) -> int:
    text = f"{definition.name}/{definition.sampler_seed}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


@contextmanager
def _quiet() -> Iterator[Any]:
    """Optuna without its log lines and its notes on experimental options."""
    import warnings

    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield optuna
    finally:
        optuna.logging.set_verbosity(before)
