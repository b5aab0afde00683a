"""One attempt at a queued job: what a worker starts as `python -m receipt_trainer.worker.main JOBFILE`."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from receipt_trainer.aws.artifacts import CliError, UploadRefusedError
from receipt_trainer.config.job_file import AnyJob, PaddleOcrVlJob, read_job
from receipt_trainer.contract import sinks
from receipt_trainer.contract.interruption import Interrupted, StopRequest, listen
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.metrics_writer import AwsRunStore
from receipt_trainer.training import failures, folder
from receipt_trainer.worker.child import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_LEASE,
    EXIT_MACHINE,
    EXIT_MISTAKE,
    EXIT_UNDELIVERABLE,
    EXIT_UNDELIVERED,
    ChildJob,
)
from receipt_trainer.worker.lease_watchdog import LeaseWatchdog
from receipt_trainer.worker.stall_detector import ProgressFile

if TYPE_CHECKING:
    from receipt_trainer.training.family import ModelFamily

EXIT_FAULT: Final = 1
FOLDER_WAIT_S: Final = 60.0
"""How long the process of an earlier attempt may take to leave the run's folder."""
FOLDER_POLL_S: Final = 1.0


def main(argv: Sequence[str]) -> int:
    """Train; returns the exit code that the worker reads."""
    stop, owner = StopRequest(), os.getpid()
    job: ChildJob | None = None
    try:
        with listen(stop, insist=False):
            job = ChildJob.model_validate_json(Path(argv[0]).read_bytes())
            LeaseWatchdog(
                sys.stdin.fileno(),
                job.lease_s,
                on_gone=lambda: _stop_unheard(owner),
                on_expired=_leave_at_once,
                on_save=stop.ask_to_save,
            )
            if job.progress_file is not None:
                sinks.listen(ProgressFile(job.progress_file))
            run_attempt(job, stop)
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return EXIT_INTERRUPTED
    except (UserError, WorldError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return exit_code(error, is_complete=job is not None and folder.is_complete(job.run_dir))
    except BaseException as error:
        traceback.print_exc()
        if not failures.is_machine_fault(error):
            return EXIT_FAULT
        return EXIT_UNDELIVERABLE if job is not None and folder.is_complete(job.run_dir) else EXIT_MACHINE
    return EXIT_DONE


def exit_code(error: UserError | WorldError, *, is_complete: bool) -> int:
    """The worker's exit code for an error of a run; of one that is complete it is the delivery that failed."""
    is_here = isinstance(error, CliError | UploadRefusedError) or failures.is_machine_fault(error)
    is_refused = isinstance(error, UserError) and isinstance(error.__cause__, BotoCoreError | ClientError)
    if isinstance(error, folder.FolderHeldError):
        return EXIT_FAULT
    if is_complete and (is_here or is_refused):
        return EXIT_UNDELIVERABLE
    if is_here:
        return EXIT_MACHINE
    if isinstance(error, WorldError):
        return EXIT_UNDELIVERED if is_complete else EXIT_FAULT
    return EXIT_FAULT if is_refused else EXIT_MISTAKE  # a right may be given: another attempt may well succeed


def _stop_unheard(process: int) -> None:
    """The worker is gone, and with it the reader of our standard error: a line to it would be a fault, in the middle
    of the checkpoint that this is about.
    """
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    os.kill(process, signal.SIGTERM)


def _leave_at_once() -> None:
    try:
        os.set_blocking(2, False)  # a frozen worker does not read: a full pipe would hold this process for ever
        os.write(2, b"error: the worker did not extend the lease in time; another one may have the job\n")
    except OSError:  # nobody hears it
        pass
    finally:
        os._exit(EXIT_LEASE)


def run_attempt(
    job: ChildJob,
    stop: StopRequest,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Train what the job asks for, or resume it; raises as `receipt_trainer.training.run.run` does."""
    spec = read_job(job.spec, f"job {job.job_id}")
    family = _family(job, spec)
    if job.needs_gpu and spec.training_config.device != "cpu":
        failures.require_gpu()
    from receipt_trainer.training.run import RunRequest, run

    request = RunRequest(
        family=family,
        job_name=spec.job_name,
        run_dir=job.run_dir,
        store=AwsRunStore(job.jobs_table, job.artifacts_bucket, job.attempt),
        is_shown=False,
        job_id=job.job_id,
        attempt=job.attempt,
        stop=stop,
        save_interval_s=job.save_interval_s,
    )
    until = clock() + FOLDER_WAIT_S
    while True:
        try:
            return run(request)
        except folder.FolderHeldError:
            if clock() >= until:
                raise
            sleep(FOLDER_POLL_S)


def _family(job: ChildJob, spec: AnyJob) -> ModelFamily[Any]:
    if isinstance(spec, PaddleOcrVlJob):
        from receipt_trainer.models.paddleocr_vl.family import PaddleOcrVl

        return PaddleOcrVl(spec)
    from receipt_trainer.models.layoutlm.family import LayoutLM

    return LayoutLM(spec.model, spec.training_config, spec.data_config, job.receipts_table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
