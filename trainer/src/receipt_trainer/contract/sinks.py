"""Outputs of the training process, as protocols: training code never talks to AWS itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from receipt_trainer.contract.job_row import State


class Listener(Protocol):
    """Hears of progress; returns at once and never raises."""

    def moved(self, doing: str, quiet_s: float) -> None:
        """The run got on with `doing`; for `quiet_s` seconds, if that is long, it may say nothing."""


_listeners: list[Listener] = []


def listen(listener: Listener | None) -> None:
    """Set the listener of this process; None: no listener, as at the start."""
    _listeners[:] = [listener] if listener is not None else []


def report_progress(doing: str, *, quiet_s: float = 0.0) -> None:
    """Say that the run got on. Costs microseconds, so it may be said at every batch; without a listener it is nothing.

    `quiet_s`: what begins now may take so long without a word, where something else bounds it.
    """
    for listener in _listeners:
        listener.moved(doing, quiet_s)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A complete checkpoint in the run's folder; `size_bytes` is of its files."""

    step: int
    epoch: float
    path: Path
    size_bytes: int


class MetricsSink:
    """Takes metrics, log lines and news of checkpoints as training goes.

    Calls return at once; `close` waits until all is written. Without more it forgets all.
    """

    def metric(self, name: str, value: float, *, step: int, epoch: float) -> None:
        """Record one value of one metric."""

    def log(self, level: str, message: str) -> None:
        """Record one line of the log."""

    def checkpoint(self, step: int, *, epoch: float, path: Path, size_bytes: int) -> None:
        """Record that the checkpoint of a step is complete, in the folder `path`."""

    def checkpoint_gone(self, step: int) -> None:
        """Record that the checkpoint of a step was deleted."""

    def close(self) -> None:
        """Write what is buffered; raise `WorldError` if rows could not be written within the retry bound."""


class NoMetrics(MetricsSink):
    """A sink for runs that do not report: forgets all."""


class ArtifactSink(Protocol):
    """Takes the files of a run."""

    def upload(self, run_dir: Path) -> str:
        """Copy the run's files, its run.json last; returns where they are."""


class RunStore:
    """Where a run reports to and leaves its files, beside its folder; opened once the run's id is known."""

    def set_status(self, job_id: str, job_name: str, status: State) -> None:
        """Write the job's own row, unless a worker owns that; also how a table that is missing is found early."""

    def open_metrics(
        self, job_id: str, history: Sequence[Mapping[str, Any]], sealed: Sequence[Sealed] | None
    ) -> MetricsSink:
        """Where metrics and log lines go.

        `history` are rows that earlier attempts logged: those that are missing are written first. The rows are made
        to agree with the checkpoints in the run's folder, `sealed`; None: they are left.
        """
        return NoMetrics()

    def open_artifacts(self, job_id: str, job_name: str) -> ArtifactSink | None:
        """Where the files go: a prefix of the run's own, so that no two runs' files mix; None: they stay.

        A worker's run begins without them, too: they are needed at its end, and a complete run waits for them.

        Raises:
            UserError: no AWS CLI, or no such bucket.
            WorldError: the bucket cannot be looked for.
        """
        return None


class FolderOnly(RunStore):
    """The store of a run that does not report: all of it stays in its folder."""
