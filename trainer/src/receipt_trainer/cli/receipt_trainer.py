"""`receipt-trainer`: the command line of receipts, jobs and workers."""

from __future__ import annotations

from typing import Final

import click

from receipt_trainer.cli.lazy import LazyCommand, LazyGroup, run

_ROOM: Final = "receipt_trainer.cli"

receipts = LazyGroup(
    name="receipts",
    help="Move receipts into and out of the receipts table, and look at them.",
    lazy_commands={
        "import": LazyCommand(f"{_ROOM}.receipts_import:command", "JSON lines files into the receipts table."),
        "export": LazyCommand(f"{_ROOM}.receipts_export:command", "The receipts table into a JSON lines file."),
        "stats": LazyCommand(f"{_ROOM}.receipts_stats:command", "Count receipts, words, labels and problems."),
        "generate": LazyCommand(f"{_ROOM}.receipts_generate:command", "Synthetic receipts as JSON lines."),
    },
)

local = LazyGroup(
    name="local",
    help="The stack on this machine: up, down, and a worker interrupted. `--stack local` means it in every command.",
    lazy_commands={
        "up": LazyCommand(f"{_ROOM}.local_up:command", "Stand it up on an embedded AWS, receipts included."),
        "status": LazyCommand(f"{_ROOM}.local_status:command", "What runs: the session and its workers."),
        "interrupt": LazyCommand(f"{_ROOM}.local_interrupt:command", "Give a worker a spot notice."),
        "env": LazyCommand(f"{_ROOM}.local_env:command", "Its variables, for the AWS CLI."),
        "down": LazyCommand(f"{_ROOM}.local_down:command", "End it; nothing is left."),
    },
)

images = LazyGroup(
    name="images",
    help="The images that the stack has baked: seen, and deleted before the stack is taken down.",
    lazy_commands={
        "list": LazyCommand(f"{_ROOM}.images:list_command", "The stack's images, and which one workers boot."),
        "delete": LazyCommand(f"{_ROOM}.images:delete_command", "Delete all of them, with their snapshots."),
    },
)


@click.group(
    "receipt-trainer",
    cls=LazyGroup,
    lazy_commands={
        "demo": LazyCommand(f"{_ROOM}.demo:command", "The whole job on this machine, on an embedded AWS."),
        "local": LazyCommand(f"{_ROOM}.receipt_trainer:local", "The stack on this machine, to play with."),
        "receipts": LazyCommand(f"{_ROOM}.receipt_trainer:receipts", "Receipts in, out, and counted."),
        "submit-job": LazyCommand(f"{_ROOM}.submit_job:command", "Queue a job file for the workers."),
        "start-worker": LazyCommand(f"{_ROOM}.start_worker:command", "Take jobs from the queues and train them."),
        "jobs": LazyCommand(f"{_ROOM}.jobs_list:command", "List jobs by state, name, pool and age."),
        "job-status": LazyCommand(f"{_ROOM}.job_status:command", "Where a job stands, at a glance."),
        "job-details": LazyCommand(f"{_ROOM}.job_details:command", "Spec, attempts, curves, cost of a job."),
        "logs": LazyCommand(f"{_ROOM}.job_logs:command", "The log of a job, and what comes."),
        "watch": LazyCommand(f"{_ROOM}.watch:command", "A job as it trains: curves, pace, dollars, log."),
        "cancel": LazyCommand(f"{_ROOM}.job_cancel:command", "End a job, running or waiting."),
        "retry": LazyCommand(f"{_ROOM}.job_retry:command", "Queue a failed or cancelled job again."),
        "sweep": LazyCommand(f"{_ROOM}.sweep:command", "Many jobs that differ in hyperparameters."),
        "sweep-status": LazyCommand(f"{_ROOM}.sweep_status:command", "A sweep's trials, best first, and a verdict."),
        "instances": LazyCommand(f"{_ROOM}.instances:command", "The workers' instances, their jobs and prices."),
        "fleet": LazyCommand(f"{_ROOM}.fleet:command", "The worker pools: bounds, backlog, prices, spend."),
        "images": LazyCommand(f"{_ROOM}.receipt_trainer:images", "The images that the stack has baked."),
        "doctor": LazyCommand(f"{_ROOM}.doctor:command", "What is wrong with account, stack or job, and its remedy."),
        "vl": LazyCommand(f"{_ROOM}.vl:group", "PaddleOCR-VL: whole documents from their images as JSON."),
    },
)
@click.version_option(package_name="receipt-trainer")
def group() -> None:
    """Receipts and training jobs: receipts in and out of DynamoDB, jobs submitted, worked on, seen and steered."""


def main() -> None:
    """Entry point of `receipt-trainer`."""
    run(group)
