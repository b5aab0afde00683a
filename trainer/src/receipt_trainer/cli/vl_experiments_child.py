"""Experiments in processes of their own: the memory of one is not that of the next, and a crash ends only one."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from receipt_trainer.sweep.experiments import Place
    from receipt_trainer.sweep.folder import Experiment

PROGRAM: Final = (sys.executable, "-m", "receipt_trainer")


@dataclass(frozen=True, slots=True)
class Children:
    """How experiments are scored: on which documents (None: those that they validate on), and how."""

    test_dir: Path | None
    batch_size: int
    max_new_tokens: int

    def train(self, experiment: Experiment, place: Place) -> str | None:
        """Train, going on with what is there; None, or why it failed."""
        return call("vl", "train", "--config", place.config, "--output-dir", place.run, log=place.folder / "train.log")

    def evaluate(self, experiment: Experiment, place: Place) -> dict[str, Any] | str:
        """Score the kept model; its scores, or why it cannot be scored."""
        from receipt_trainer.models.paddleocr_vl.dataset import find_files
        from receipt_trainer.reports.evaluation_pages import read_scores

        documents = self.test_dir or find_files(experiment.job.data_config)[1]
        if documents is None:
            return "no documents to score on: set val_path, or give --test-dir"
        words: tuple[object, ...] = ("vl", "evaluate", "--test-dir", documents, "--model-path", place.run)
        words += ("--output", place.scores, "--batch-size", self.batch_size, "--max-new-tokens", self.max_new_tokens)
        device = experiment.job.training_config.device
        failure = call(*words, "--device", device, log=place.folder / "evaluate.log", quiet=True)
        return read_scores(place.scores) if failure is None else failure


def call(*words: object, log: Path, quiet: bool = False) -> str | None:
    """Run a command of ours; None, or the reason that it gave for its failure.

    Args:
        log: gets what the command says of errors; replaced.
        quiet: put what it prints there too.

    Raises:
        KeyboardInterrupt: this process was asked to end; the command was asked too, and has ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w+b") as stream:
        # Its own session: what is asked of this process in the terminal reaches the child once, through us.
        child = subprocess.Popen(
            [*PROGRAM, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=stream if quiet else None,
            stderr=stream,
            start_new_session=True,
        )
        with _ending(child):
            code = child.wait()
    return None if code == 0 else reason(code, log)


@contextlib.contextmanager
def _ending(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """While it runs, SIGTERM to us is as Ctrl+C; whatever ends us early asks the child to end, and waits for it."""

    def on_signal(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
        signal.signal(signal.SIGTERM, before)


def reason(code: int, log: Path) -> str:
    """Why a command failed: its line of the error, else its last line, else how it ended."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors: Sequence[str] = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return (errors or lines or [f"exit code {code}"])[-1]
