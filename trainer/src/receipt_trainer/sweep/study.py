"""A sweep's trials as an Optuna study in the jobs table, and what Optuna makes of them: proposals and pruning.

What is stored is one study a sweep. Each of its trials holds one of ours (`Trial.to_plain`) beside what samplers and
pruners look at. Optuna's trials that have ended never change; where a job that had failed is tried again, its trial
is stored once more, and the later one counts.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import optuna
from optuna import distributions, pruners, samplers
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from receipt_trainer.sweep.definition import SEARCHES, Definition
from receipt_trainer.sweep.journal import JobsTableJournal, OvertakenError
from receipt_trainer.sweep.search_space import Axis
from receipt_trainer.sweep.store import SweepTable
from receipt_trainer.sweep.trial import Trial, shared

NUM_STARTUP: Final = 10
"""Random trials before TPE draws conclusions (Optuna's default)."""
PRUNE_AFTER_TRIALS: Final = 5
"""Complete trials before anything is pruned (Optuna's default)."""
FIRST_PRUNED: Final = 2
"""The first evaluation at which a trial may be pruned: after one epoch a slow starter looks worse than it is."""
_ATTRIBUTE: Final = "trial"


class SweepStudy:
    """The trials of one sweep. Methods raise UserError and WorldError as `aws_faults`."""

    def __init__(self, definition: Definition, sweeps: SweepTable) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._definition, self._sweeps = definition, sweeps
        self._open()

    def _open(self) -> None:
        self._journal = JobsTableJournal(*self._sweeps.table, self._definition.name)
        self._storage = JournalStorage(self._journal)
        self._is_stale = False

    def begin(self) -> None:
        """Make the study if there is none, and take over trials that version 0.1.0 has stored."""
        while self._study_id() is None:
            goal = self._definition.goal
            direction = StudyDirection.MINIMIZE if goal.is_lower_better else StudyDirection.MAXIMIZE
            with suppress(OvertakenError), self._transaction():
                self._storage.create_new_study([direction], self._definition.name)
        known = self._frozen()
        for trial in self._sweeps.old_trials(self._definition.name):
            if trial.number not in known:
                self.add(trial)

    def trials(self) -> list[Trial]:
        """As they are stored, by their number; one that is the same as an earlier one shares its jobs and state."""
        found = {trial.number: trial for trial in self._sweeps.old_trials(self._definition.name)}
        found |= {number: self._trial(frozen) for number, frozen in self._frozen().items()}
        return shared([found[number] for number in sorted(found)])

    def add(self, trial: Trial) -> bool:
        """Store a new trial; False if one of this number is there, whatever it is."""
        return self._replace(trial, 0)

    def change(self, before: Trial, after: Trial) -> Trial:
        """Store a trial's new state; where somebody else changed it meanwhile, `after` is only what was seen."""
        changed = replace(after, version=before.version + 1)
        return changed if self._replace(changed, before.version) else after

    def propose(self, number: int, become: Callable[[dict[str, Any]], Trial]) -> Trial | None:
        """Choose the values of the trial of this number, and store what they `become`; None if there is one already.

        The values follow from the definition, the number and, for TPE, what is stored of the earlier trials: whoever
        continues a sweep proposes what the one that was stopped would have proposed.
        """
        definition = self._definition
        text = f"{definition.name}/{definition.sampler_seed}/{number}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        while number not in self._frozen():
            with suppress(OvertakenError), warnings.catch_warnings(), self._transaction():
                warnings.simplefilter("ignore")  # on experimental options
                sampler: samplers.BaseSampler = samplers.RandomSampler(seed=seed)
                if definition.method == "tpe":
                    sampler = samplers.TPESampler(seed=seed, n_startup_trials=NUM_STARTUP, constant_liar=True)
                study = self._load(sampler)
                asked = study.ask({axis.key: _distribution(axis) for axis in definition.axes})
                trial = become({axis.key: _value(axis, asked.params[axis.key]) for axis in definition.axes})
                asked.set_user_attr(_ATTRIBUTE, trial.to_plain())
                if (state := _state(trial)).is_finished():
                    study.tell(asked, state=state)
                return trial
        return None

    def is_hopeless(self, trial: Trial) -> bool:
        """Whether the trial's best evaluation so far is worse than the median of complete trials at the same one."""
        if len(trial.curve) < FIRST_PRUNED:
            return False
        pruner = pruners.MedianPruner(n_startup_trials=PRUNE_AFTER_TRIALS, n_warmup_steps=FIRST_PRUNED)
        asked = create_trial(state=TrialState.RUNNING, intermediate_values=_steps(trial))
        with self._journal.transaction():
            return bool(pruner.prune(self._load(), asked))

    def _load(self, sampler: samplers.BaseSampler | None = None) -> optuna.Study:
        return optuna.load_study(study_name=self._definition.name, storage=self._storage, sampler=sampler)

    def _study_id(self) -> int | None:
        if self._is_stale:
            self._open()
        try:
            return self._storage.get_study_id_from_name(self._definition.name)
        except KeyError:
            return None

    def _frozen(self) -> dict[int, FrozenTrial]:
        """Optuna's trials by the number of ours that they hold, the last of each."""
        study_id = self._study_id()
        every = [] if study_id is None else self._storage.get_all_trials(study_id, deepcopy=False)
        return {frozen.user_attrs[_ATTRIBUTE]["number"]: frozen for frozen in every}

    def _trial(self, frozen: FrozenTrial) -> Trial:
        return Trial.from_plain(self._definition.name, frozen.user_attrs[_ATTRIBUTE])

    def _replace(self, trial: Trial, version: int) -> bool:
        """Store a trial in the place of its `version` (0: there is none yet); False if another one is there."""
        while True:
            there = self._frozen().get(trial.number)
            if (self._trial(there).version if there is not None else 0) != version:
                return False
            with suppress(OvertakenError), self._transaction():
                self._store(there, trial)
                return True

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Store what is written within at once; OvertakenError if another process wrote since the last read."""
        try:
            with self._journal.transaction():
                yield
        except BaseException:
            self._is_stale = True  # the storage has in mind what was not written
            raise

    def _store(self, there: FrozenTrial | None, trial: Trial) -> None:
        study_id = self._storage.get_study_id_from_name(self._definition.name)
        new = self._as_frozen(trial)
        if there is None or there.state.is_finished():
            self._storage.create_new_trial(study_id, new)
            return
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, there.number)
        self._storage.set_trial_user_attr(trial_id, _ATTRIBUTE, trial.to_plain())
        if new.state.is_finished():
            for step, value in new.intermediate_values.items():
                self._storage.set_trial_intermediate_value(trial_id, step, value)
            self._storage.set_trial_state_values(trial_id, new.state, new.values)

    def _as_frozen(self, trial: Trial) -> FrozenTrial:
        state = _state(trial)
        drawn = self._definition.axes if self._definition.method in SEARCHES else ()
        return create_trial(
            state=state,
            value=trial.value if state == TrialState.COMPLETE else None,
            params={axis.key: _drawn(axis, trial.params[axis.key]) for axis in drawn},
            distributions={axis.key: _distribution(axis) for axis in drawn},
            user_attrs={_ATTRIBUTE: trial.to_plain()},
            intermediate_values=_steps(trial) if state.is_finished() else {},
        )


def _state(trial: Trial) -> TrialState:
    """A trial's state for samplers and pruners. A held one was trained, and its score may still come."""
    if trial.same_as is not None or (trial.state == "COMPLETE" and trial.value is None):
        return TrialState.FAIL  # nothing is learned from it; the trial that it is the same as is known
    ended = {"COMPLETE": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED}
    ended |= {"FAILED": TrialState.FAIL, "CANCELLED": TrialState.FAIL}
    return ended.get(trial.state, TrialState.RUNNING)


def _steps(trial: Trial) -> dict[int, float]:
    return dict(enumerate(trial.curve, start=1))


def _distribution(axis: Axis) -> distributions.BaseDistribution:
    if axis.low is None or axis.high is None:
        return distributions.CategoricalDistribution(tuple(range(len(axis.choices))))
    if axis.is_whole:
        return distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.is_log)
    return distributions.FloatDistribution(axis.low, axis.high, log=axis.is_log)


def _value(axis: Axis, drawn: Any) -> Any:
    """Choices are drawn by their place: Optuna takes no lists and no mappings."""
    return drawn if axis.is_range else axis.choices[drawn]


def _drawn(axis: Axis, value: Any) -> Any:
    return value if axis.is_range else axis.choices.index(value)
