"""One attempt at a queued job: what a worker starts as `python -m receipt_trainer.cli.run_attempt JOBFILE`."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from receipt_trainer.cli import run_faults
from receipt_trainer.config import DataConfig, TrainingConfig, parse
from receipt_trainer.config_vl import VlJobData, VlJobTraining, is_vl_model, job_config
from receipt_trainer.contract import progress
from receipt_trainer.contract.interruption import Interrupted, StopRequest
from receipt_trainer.contract.job import JobSpec
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.metrics_writer import RowsLeftError
from receipt_trainer.worker.child import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_LEASE,
    EXIT_MACHINE,
    EXIT_MISTAKE,
    EXIT_UNDELIVERED,
    ChildJob,
)
from receipt_trainer.worker.lease_watchdog import LeaseWatchdog
from receipt_trainer.worker.stall_detector import ProgressFile

if TYPE_CHECKING:
    from receipt_trainer.cli.run_job import RunOptions

EXIT_FAULT: Final = 1
FOLDER_WAIT_S: Final = 60.0
"""How long the process of an earlier attempt may take to leave the run's folder."""
FOLDER_POLL_S: Final = 1.0


def main(argv: Sequence[str]) -> int:
    """Train; returns the exit code that the worker reads."""
    stop, owner = StopRequest(), os.getpid()

    def on_signal(number: int, frame: object) -> None:
        if os.getpid() != owner:  # a process that builds batches
            os._exit(128 + number)
        stop.ask()

    try:
        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)
        job = ChildJob.model_validate_json(Path(argv[0]).read_bytes())
        LeaseWatchdog(
            sys.stdin.fileno(),
            job.lease_s,
            on_gone=lambda: os.kill(owner, signal.SIGTERM),
            on_expired=_leave_at_once,
            on_save=stop.ask_to_save,
        )
        if job.progress_file is not None:
            progress.listen(ProgressFile(job.progress_file))
        run_attempt(job, stop)
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return EXIT_INTERRUPTED
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        if run_faults.is_machines(error):
            return EXIT_MACHINE
        return EXIT_FAULT if run_faults.is_elsewhere(error) else EXIT_MISTAKE
    except RowsLeftError as error:  # of a run that failed, its own fault is raised
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_UNDELIVERED
    except WorldError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_MACHINE if run_faults.is_machines(error) else EXIT_FAULT
    except BaseException as error:
        traceback.print_exc()
        return EXIT_MACHINE if run_faults.is_machines(error) else EXIT_FAULT
    return EXIT_DONE


def _leave_at_once() -> None:
    os.write(2, b"error: the worker did not extend the lease in time; another one may have the job\n")
    os._exit(EXIT_LEASE)


def run_attempt(
    job: ChildJob,
    stop: StopRequest,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Train what the job asks for, or go on with it.

    Raises:
        UserError: the job asks for what cannot be.
        WorldError: as the parts say; `MachineError` without the machine's GPU.
        Interrupted: `stop` was asked.
    """
    spec = JobSpec.model_validate(job.spec)
    train, device = (_vl_training if is_vl_model(spec.model) else _training)(job, spec, stop)
    if job.needs_gpu and device != "cpu":
        run_faults.require_gpu()
    from receipt_trainer.cli.run_folder import FolderHeldError

    until = clock() + FOLDER_WAIT_S
    while True:
        try:
            return train()
        except FolderHeldError:
            if clock() >= until:
                raise
            sleep(FOLDER_POLL_S)


def _training(job: ChildJob, spec: JobSpec, stop: StopRequest) -> tuple[Callable[[], None], str]:
    """What trains a job of the first model family, and the device that it asks for."""
    where = f"job {spec.job_name}"
    training = parse(TrainingConfig, spec.training_config, where)
    data = parse(DataConfig, spec.data_config, where)
    from receipt_trainer.cli.run_job import run_job

    return partial(run_job, _options(job, spec, stop), training, data), training.device


def _vl_training(job: ChildJob, spec: JobSpec, stop: StopRequest) -> tuple[Callable[[], None], str]:
    """The same of the second family."""
    where = f"job {spec.job_name}"
    training = parse(VlJobTraining, spec.training_config, where)
    config = job_config(spec.model, training, parse(VlJobData, spec.data_config, where))
    from receipt_trainer.cli.vl_run import VlRun, run_vl

    return partial(run_vl, VlRun(_options(job, spec, stop), config)), training.device


def _options(job: ChildJob, spec: JobSpec, stop: StopRequest) -> RunOptions:
    from receipt_trainer.cli.run_job import RunOptions

    return RunOptions(
        job_name=spec.job_name,
        model=spec.model,
        output_dir=job.run_dir,
        receipts_table=job.receipts_table,
        jobs_table=job.jobs_table,
        artifacts_bucket=job.artifacts_bucket,
        snapshot_save=None,
        snapshot_load=None,
        restart=False,
        progress=False,
        job_id=job.job_id,
        attempt=job.attempt,
        stop=stop,
        save_interval_s=job.save_interval_s,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
