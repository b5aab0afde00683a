"""`receipt-trainer`: the command line of receipts, jobs and workers."""

from __future__ import annotations

import click

from receipt_trainer.cli.lazy import LazyCommand, LazyGroup, run

receipts = LazyGroup(
    name="receipts",
    help="Move receipts into and out of the receipts table, and look at them.",
    lazy_commands={
        "import": LazyCommand(".commands.receipts:import_command", "Files of many formats into the receipts table."),
        "check": LazyCommand(
            ".commands.receipts:check_command", "What training on receipts would meet, and ten drawn."
        ),
        "export": LazyCommand(".commands.receipts:export_command", "The receipts table into a file."),
        "stats": LazyCommand(".commands.receipts:stats_command", "Count receipts, words, labels and problems."),
        "delete": LazyCommand(".commands.receipts:delete_command", "Receipts out of the table, photos included."),
        "ocr": LazyCommand(".commands.receipts:ocr_command", "Photos as the words that the reader reads in them."),
        "generate": LazyCommand(".commands.receipts:generate_command", "Synthetic receipts as JSON lines."),
    },
)

local = LazyGroup(
    name="local",
    help="The stack on this machine: up, down, and a worker interrupted. `--stack local` means it in every command.",
    lazy_commands={
        "up": LazyCommand(".commands.local:up_command", "Stand it up on an embedded AWS, receipts included."),
        "status": LazyCommand(".commands.local:status_command", "Show the session and its workers."),
        "interrupt": LazyCommand(".commands.local:interrupt_command", "Give a worker a spot notice."),
        "env": LazyCommand(".commands.local:env_command", "Print its variables, for the AWS CLI."),
        "down": LazyCommand(".commands.local:down_command", "End it and remove all of it."),
    },
)

images = LazyGroup(
    name="images",
    help="The images that the stack has baked: seen, and deleted before the stack is taken down.",
    lazy_commands={
        "list": LazyCommand(".commands.fleet:list_images_command", "The stack's images, and which one workers boot."),
        "delete": LazyCommand(".commands.fleet:delete_images_command", "Delete all of them, with their snapshots."),
    },
)

experiments = LazyGroup(
    name="experiments",
    help="A folder of configurations that each change one parameter: run them, compare them.",
    lazy_commands={
        "run": LazyCommand(".commands.experiments:run_command", "Train and score each, or queue them as jobs."),
        "compare": LazyCommand(".commands.experiments:compare_command", "Rank what came of them."),
    },
)

vl = LazyGroup(
    name="vl",
    help="PaddleOCR-VL with LoRA: read complete documents from their images as JSON.",
    lazy_commands={
        "train": LazyCommand(".commands.vl_train:train_command", "Fine-tune the model on images and their JSON."),
        "validate-dataset": LazyCommand(".commands.vl_data:validate_command", "List all problems of a data set."),
        "generate": LazyCommand(".commands.vl_data:generate_command", "Synthetic documents with their truth."),
        "import": LazyCommand(".commands.vl_data:import_command", "Labelled receipts and their images as a data set."),
        "find-lr": LazyCommand(".commands.vl_train:find_lr_command", "Look for a good learning rate."),
        "experiments": LazyCommand(".receipt_trainer:experiments", "Run and compare a folder of configurations."),
        "predict": LazyCommand(".commands.vl_evaluate:predict_command", "Images and PDFs in, checked JSON out."),
        "evaluate": LazyCommand(".commands.vl_evaluate:evaluate_command", "Score a model on a test set."),
        "rehearse": LazyCommand(".commands.vl_evaluate:rehearse_command", "Pages of the base's own task, to mix in."),
        "compare": LazyCommand(".commands.vl_evaluate:compare_command", "Two models on one test set, with intervals."),
        "merge": LazyCommand(".commands.vl_train:merge_command", "Merge an adapter into its base model."),
        "smoke": LazyCommand(
            ".commands.vl_train:smoke_command", "Compare a merged model with what it was made of, and with a server."
        ),
    },
)


@click.group(
    "receipt-trainer",
    cls=LazyGroup,
    lazy_commands={
        "demo": LazyCommand(".commands.demo:command", "A complete job on this machine, on an embedded AWS."),
        "local": LazyCommand(".receipt_trainer:local", "The stack on this machine, to play with."),
        "read": LazyCommand(".commands.read:command", "Photos, PDFs and files of words in, fields out."),
        "serve": LazyCommand(".commands.serve:group", "The reader over HTTP, and a page to correct its answers."),
        "receipts": LazyCommand(".receipt_trainer:receipts", "Receipts in, out, and counted."),
        "submit-job": LazyCommand(".commands.submit_job:command", "Queue a job file for the workers."),
        "training-defaults": LazyCommand(
            ".commands.submit_job:defaults_command", "The hyperparameters that the stack gives to jobs."
        ),
        "start-worker": LazyCommand(".commands.worker:command", "Take jobs from the queues and train them."),
        "jobs": LazyCommand(".commands.jobs:list_command", "List jobs by state, name, pool and age."),
        "job-status": LazyCommand(".commands.jobs:status_command", "The state of a job, at a glance."),
        "job-details": LazyCommand(".commands.jobs:details_command", "Spec, attempts, curves, cost of a job."),
        "logs": LazyCommand(".commands.jobs:logs_command", "The log of a job, also as it grows."),
        "watch": LazyCommand(".commands.jobs:watch_command", "A job as it trains: curves, pace, dollars, log."),
        "cancel": LazyCommand(".commands.jobs:cancel_command", "End a job, running or waiting."),
        "retry": LazyCommand(".commands.jobs:retry_command", "Queue a failed or cancelled job again."),
        "sweep": LazyCommand(".commands.sweep:sweep_command", "Many jobs that differ in hyperparameters."),
        "sweep-status": LazyCommand(".commands.sweep:status_command", "A sweep's trials, best first, and a verdict."),
        "instances": LazyCommand(".commands.fleet:instances_command", "The workers' instances, their jobs and prices."),
        "fleet": LazyCommand(".commands.fleet:fleet_command", "The worker pools: bounds, backlog, prices, spend."),
        "images": LazyCommand(".receipt_trainer:images", "The images that the stack has baked."),
        "doctor": LazyCommand(".commands.doctor:command", "Problems of account, stack or job, and their remedies."),
        "vl": LazyCommand(".receipt_trainer:vl", "PaddleOCR-VL: documents from their images as JSON."),
    },
)
@click.version_option(package_name="receipt-trainer")
def group() -> None:
    """Receipts and training jobs: receipts in and out of DynamoDB, jobs submitted, worked on, seen and steered."""


def main() -> None:
    """Entry point of `receipt-trainer`."""
    run(group)
