"""What leaves the training process, as protocols: whoever trains never talks to AWS itself."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class MetricsSink(Protocol):
    """Takes metrics, log lines and news of checkpoints as training goes.

    Calls return at once; `close` waits until all is written.
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


class ArtifactSink(Protocol):
    """Takes the files of a run."""

    def upload(self, run_dir: Path) -> str:
        """Copy the run's files, its run.json last; returns where they are."""


class NoMetrics:
    """A sink for runs that report to nobody."""

    def metric(self, name: str, value: float, *, step: int, epoch: float) -> None:
        """Forget it."""

    def log(self, level: str, message: str) -> None:
        """Forget it."""

    def checkpoint(self, step: int, *, epoch: float, path: Path, size_bytes: int) -> None:
        """Forget it."""

    def checkpoint_gone(self, step: int) -> None:
        """Forget it."""

    def close(self) -> None:
        """Nothing is buffered."""
