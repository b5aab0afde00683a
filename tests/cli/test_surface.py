"""The commands and options of `receipt-trainer`, and what `--help` costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import click
import pytest

from receipt_trainer.cli.receipt_trainer import group
from tests.cli.layoutlm import environment

_STACK = {"--stack", "--outputs"}
_JOBS = _STACK | {"--jobs-table", "--json"}
_LIMITS = {"--max-hours", "--max-usd"}
_RECEIPTS = _STACK | {"--dynamo-table", "--progress", "--no-progress"}
_ASKING = {"--batch-size", "--device", "--limit", "--max-new-tokens", "--test-dir", "--progress", "--no-progress"}
OPTIONS = {
    "doctor": {"--stack", "--outputs", "--heal", "--json"},
    "demo": {"--data", "--epochs", "--job-name", "--model", "--output-dir", "--program", "--receipts"},
    "local up": {"--data", "--receipts", "--program", "--detach", "-d"},
    "local status": {"--json"},
    "local interrupt": {"--kind", "--warning"},
    "local env": set(),
    "local down": set(),
    "read": {"--model", "--format", "--pages", "--date-order", "--currency", "--known", "--csv", "--items", "--table"}
    | {"--output", "--workers", "--progress", "--no-progress"}
    | _STACK,
    "receipts import": {"--dry-run"} | _RECEIPTS,
    "receipts export": {"--all", "--output", "-o"} | _RECEIPTS,
    "receipts stats": _RECEIPTS,
    "receipts generate": {"--count", "--output", "-o", "--seed"},
    "submit-job": {"--config", "--queue-url", "--priority", "--pool", "--job-name", "--client-token", "--dry-run"}
    | {"--notify", "--no-notify"}
    | _LIMITS
    | _JOBS,
    "start-worker": {"--artifacts-bucket", "--checkpoints-dir", "--dynamo-table", "--idle-timeout"}
    | {"--instance-registry-table", "--jobs-table", "--max-jobs", "--mount-efs", "--queue-url"}
    | _STACK,
    "jobs": {"--status", "--name", "--pool", "--since", "--limit"} | _JOBS,
    "job-status": _JOBS,
    "job-details": _JOBS,
    "logs": {"--follow", "-f", "--lines", "-n", "--timeout"} | _JOBS,
    "watch": {"--interval", "--timeout", "--once"} | _JOBS,
    "cancel": _JOBS,
    "retry": _JOBS | _LIMITS,
    "sweep": {"--config", "--name", "--resume", "--learning-rates", "--batch-sizes", "--epochs", "--warmup-ratios"}
    | {"--set", "--max-samples", "--seeds", "--plan", "--search", "--trials", "--sampler-seed", "--concurrency"}
    | {"--prune", "--scale-lr", "--queue-url", "--priority", "--pool", "--monitor", "--monitor-timeout", "--dry-run"}
    | {"--objective"}
    | _LIMITS
    | _JOBS,
    "sweep-status": _JOBS,
    "instances": {"--instance-registry-table", "--pool", "--all", "--json"} | _STACK,
    "vl train": {"--artifacts-bucket", "--config", "--difficulty-schedule", "--jobs-table", "--output-dir", "--restart"}
    | {"--resume", "--train-file", "--use-quantization", "--val-file"},
    "fleet": {"--start", "--stop", "--status", "--now", "--min-instances", "--max-instances", "--pool", "--json"}
    | _STACK,
    "images list": {"--json"} | _STACK,
    "images delete": {"--yes"} | _STACK,
    "vl validate-dataset": {
        "--input",
        "--schema",
        "--tokenizer",
        "--max-image-pixels",
        "--max-sequence-length",
        "--json",
    },
    "vl generate": {"--boxes", "--count", "--font-dir", "--format", "--languages", "--level", "--output-dir", "--seed"}
    | {"--split", "--template-set", "--workers", "--progress", "--no-progress"},
    "vl import": {"--currency", "--date-order", "--decimal-point", "--images", "--output-dir", "--split"}
    | {"--progress", "--no-progress"},
    "vl find-lr": {"--config", "--train-file", "--output", "-o", "--start-lr", "--end-lr", "--steps"}
    | {"--progress", "--no-progress"},
    "vl experiments run": {"--allow-several", "--base", "--batch-size", "--dry-run", "--jobs-table", "--max-new-tokens"}
    | {"--output-dir", "--pool", "--priority", "--queue", "--queue-url", "--retry-failed", "--scale-lr", "--test-dir"}
    | _STACK,
    "vl experiments compare": {"--by"} | _JOBS,
    "vl evaluate": {"--adapter", "--model-path", "--output", "-o", "--predictions"} | _ASKING,
    "vl compare": {"--baseline-model", "--baseline-predictions", "--finetuned-model", "--finetuned-predictions"}
    | {"--output-dir", "--resamples", "--seed"}
    | _ASKING,
    "vl merge": {"--adapter-path", "--base-model", "--output-dir"},
}
"""Scripts and READMEs use these: taking one away breaks them, and a new one is a decision, not an accident."""


def walk(command: click.Command, path: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """All commands by their words."""
    if not isinstance(command, click.Group):
        return {" ".join(path): command}
    context = click.Context(command)
    found: dict[str, click.Command] = {}
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        found |= walk(child, (*path, name))
    return found


def test_the_options_of_every_command() -> None:
    """The option surface is frozen."""
    found = {}
    for name, command in walk(group).items():
        options = [option for option in command.params if isinstance(option, click.Option)]
        found[name] = {text for option in options for text in (*option.opts, *option.secondary_opts)}
    assert found == OPTIONS


def loaded_by_help(program: str, words: Iterable[str]) -> set[str]:
    """The slow libraries that a process has loaded which shows the help of each of these commands."""
    slow = {"torch", "transformers", "datasets", "boto3", "botocore", "moto", "pulumi", "matplotlib", "numpy", "rich"}
    code = (
        f"import sys\nfrom receipt_trainer.cli.{program} import group\n"
        f"for words in {[*words]!r}:\n"
        "    try: group.main([*words.split(), '--help'])\n"
        "    except SystemExit as end: assert not end.code, words\n"
        f"print('slow:', *(sys.modules.keys() & {slow!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_help_of_a_group_is_quick() -> None:
    """A group lists its commands without importing one: nothing is loaded that takes long."""
    assert loaded_by_help("receipt_trainer", ["", "receipts", "local", "images", "vl", "vl experiments"]) == set()
    assert loaded_by_help("layoutlm", [""]) == set()


@pytest.mark.parametrize("program", ["receipt_trainer", "layoutlm"])
def test_help_of_a_command_needs_no_training_library(program: str) -> None:
    """Every command can be asked for its options, and none of them loads what only training and local mode need."""
    words = OPTIONS if program == "receipt_trainer" else ["train", "evaluate", "predict", "label-counts", "spot-check"]
    assert loaded_by_help(program, words) <= {"boto3", "botocore", "numpy", "rich"}


def test_the_groups_help_names_every_command() -> None:
    """`receipt-trainer --help` lists all commands with a line each."""
    done = subprocess.run(
        [sys.executable, "-m", "receipt_trainer", "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    listed = {line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line.strip()}
    assert listed == {name.split()[0] for name in OPTIONS}
