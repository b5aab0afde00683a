"""Interface of a model family to a run: its data, model, trainer, scores and report. All else is shared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from rich.console import Console

from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import MetricsSink
from receipt_trainer.training.arguments import Hyperparameters
from receipt_trainer.training.hardware import Machine
from receipt_trainer.training.trainer import BatchTrainer

Record = TypeVar("Record", bound=RunRecord)
"""The record of a family's runs."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When an evaluation was, and what training had come to, over all attempts; values as last logged."""

    epoch: float
    step: int
    train_loss: float | None
    learning_rate: float | None
    elapsed_s: float


class Row(Protocol):
    """An evaluation in a record."""

    step: int
    elapsed_s: float


EvaluationRow = TypeVar("EvaluationRow", bound=Row)


class Evaluations(ABC, Generic[Record, EvaluationRow]):
    """How a family's evaluations are ranked, recorded and said."""

    metric: str
    """The metric whose best value decides which model is kept, such as `eval_f1`."""
    is_higher_better: bool
    sent: Collection[str]
    """Names of the metrics that are passed on, as transformers logs them."""

    @abstractmethod
    def row(self, moment: Moment, metrics: Mapping[str, float]) -> EvaluationRow:
        """An evaluation as the record has it."""

    @abstractmethod
    def rows(self, record: Record) -> list[EvaluationRow]:
        """The evaluations of a record, in the order of their steps."""

    @abstractmethod
    def keep(self, record: Record, rows: list[EvaluationRow]) -> None:
        """Let the record have these evaluations, and the best of them."""

    @abstractmethod
    def describe(self, metrics: Mapping[str, float]) -> str:
        """An evaluation, as part of a line."""

    def add(self, record: Record, moment: Moment, metrics: Mapping[str, float]) -> None:
        """Put an evaluation into the record, behind those of earlier steps."""
        self.keep(record, [row for row in self.rows(record) if row.step < moment.step] + [self.row(moment, metrics)])

    def restore(self, record: Record, earlier: Record, step: int) -> None:
        """Take over what an interrupted run had recorded up to a step."""
        self.keep(record, [row for row in self.rows(earlier) if row.step <= step])

    def elapsed_s(self, record: Record) -> float:
        """Training time at the last evaluation; 0 before the first."""
        rows = self.rows(record)
        return rows[-1].elapsed_s if rows else 0.0


class Task(Protocol[Record]):
    """One run of a family with its data: what is trained, and how it is judged."""

    @property
    def hyperparameters(self) -> Hyperparameters:
        """How to train."""

    @property
    def evaluations(self) -> Evaluations[Record, Any]:
        """How evaluations are ranked and recorded."""

    @property
    def start_dir(self) -> Path | None:
        """The folder of the model that the run begins with, if it is one of this machine."""

    @property
    def memory_hint(self) -> str:
        """Advice where the GPU's memory is too small, behind `too small for`."""

    def announce(self) -> Iterable[str]:
        """Summary of the data before training, as lines."""

    def fingerprint(self) -> dict[str, Any]:
        """The values on which the losses depend; a checkpoint with others is refused."""

    def record(self, job_name: str, job_id: str, model: Any) -> Record:
        """The record of a run that begins, without times and machine."""

    def build(self, machine: Machine) -> Any:
        """The model that the run begins with."""

    def trainer(self, model: Any, machine: Machine, run_dir: Path, callbacks: Sequence[Any]) -> BatchTrainer:
        """Make the trainer."""

    def finish(self, trainer: BatchTrainer, record: Record, run_dir: Path, sink: MetricsSink, console: Console) -> None:
        """Score the best model, which the trainer holds, and leave model and predictions in the run's folder."""


class ModelFamily(Protocol[Record]):
    """A family and what is asked of it."""

    @property
    def packages(self) -> Mapping[str, str]:
        """Extras of the package that a run needs, as text; by the modules that show whether they are installed."""

    def machine(self) -> Machine:
        """The device and arithmetic to use; UserError: the machine has not what is asked for."""

    def prepare(self, console: Console, *, is_shown: bool) -> Task[Record]:
        """Read the data, with a bar on a terminal if it `is_shown`."""

    def asked(self) -> dict[str, Any]:
        """The settings that a complete run must have to be what is asked for, by their names in the record."""

    def missing_rows(self, record: Record) -> list[dict[str, Any]]:
        """Metrics of a complete run that no checkpoint's history has."""

    def report(self, run_dir: Path, record: Record) -> Path:
        """Write report.html; returns its path."""

    def conclude(self, run_dir: Path, record: Record, console: Console | None) -> str:
        """Once the record is complete: remove what only an interrupted run needs, print the results in short.

        Returns what to do next, a command a line.
        """

    def describe(self, record: Record) -> str:
        """The scores of the kept model, on one line."""
