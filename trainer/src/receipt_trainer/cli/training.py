"""Shared by the commands that train: Ctrl+C and SIGTERM, and where a run reports to."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from receipt_trainer.contract.interruption import Interrupted, StopRequest, listen
from receipt_trainer.contract.sinks import FolderOnly, RunStore


@contextmanager
def interruptible() -> Iterator[StopRequest]:
    """Ends the command as the signal asks: after the step with a checkpoint, at once if it comes again a second later.

    Raises:
        click.exceptions.Exit: with 128 and the signal's number, as shells write it: 130 or 143.
    """
    stop = StopRequest()
    try:
        with listen(stop):
            _load_libraries()
            yield stop
    except (Interrupted, KeyboardInterrupt) as interrupted:
        told = str(interrupted) or "stopped at once"
        click.echo(f"{told}; the same command resumes from the newest checkpoint", err=True)
        raise click.exceptions.Exit(128 + (stop.signal or signal.SIGINT)) from None


def _load_libraries() -> None:
    """Import what would load boto3 where it finds it, for uses of its own, without it: that takes half a second."""
    hidden = [name for name in ("boto3", "botocore") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # marks the module as missing for the import system
    try:
        import accelerate  # noqa: F401
        import torch.utils.tensorboard  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def run_store(jobs_table: str | None, artifacts_bucket: str | None) -> RunStore:
    """Where a run of the command line reports to; without table and bucket nothing of AWS is loaded."""
    if not jobs_table and not artifacts_bucket:
        return FolderOnly()
    from receipt_trainer.jobs.metrics_writer import AwsRunStore

    return AwsRunStore(jobs_table, artifacts_bucket)
