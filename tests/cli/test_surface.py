"""The commands and options of both programs, and what `--help` costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import click
import pytest

from receipt_trainer.cli import layoutlm
from receipt_trainer.cli.lazy import EXTRAS
from receipt_trainer.cli.receipt_trainer import group

_STACK = {"--stack", "--outputs"}
_JOBS = _STACK | {"--jobs-table", "--json"}
_LIMITS = {"--max-hours", "--max-usd"}
_RECEIPTS = _STACK | {"--dynamo-table", "--progress", "--no-progress"}
_ASKING = {"--batch-size", "--device", "--limit", "--max-new-tokens", "--test-dir", "--progress", "--no-progress"}
_SERVER = {"--max-new-tokens", "--prompt", "--server", "--served-model"}
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
    | _SERVER
    | _STACK,
    "serve": {
        "--model",
        "--host",
        "--name",
        "--port",
        "--no-browser",
        "--token-file",
        "--token-parameter",
        "--output",
        "--workers",
    }
    | {"--review", "--corrections", "--keep-photos", "--date-order", "--currency", "--known"}
    | _SERVER
    | _STACK,
    "serve promote": {"--name", "--on", "--yes", "--rollback"} | _STACK,
    "serve token": set(),
    "receipts import": {"--dry-run", "--format", "--label-names", "--partial", "--yes"} | _RECEIPTS,
    "receipts check": {"--format", "--label-names", "--html", "--no-html"} | _RECEIPTS,
    "receipts export": {"--all", "--format", "--image-url", "--output", "-o"} | _RECEIPTS,
    "receipts stats": _RECEIPTS,
    "receipts delete": {"--dry-run", "--yes"} | _RECEIPTS - {"--progress", "--no-progress"},
    "receipts ocr": {"--output", "-o", "--gold", "--progress", "--no-progress"},
    "receipts generate": {"--count", "--output", "-o", "--seed", "--varied"},
    "submit-job": {"--config", "--queue-url", "--priority", "--pool", "--job-name", "--client-token", "--dry-run"}
    | {"--notify", "--no-notify"}
    | _LIMITS
    | _JOBS,
    "training-defaults": {"--json"} | _STACK,
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
        "--prompt",
        "--compact-items",
        "--max-image-pixels",
        "--max-sequence-length",
        "--json",
    },
    "vl generate": {"--boxes", "--count", "--font-dir", "--format", "--languages", "--level", "--output-dir", "--seed"}
    | {"--corpus", "--split", "--template-set", "--workers", "--progress", "--no-progress"},
    "vl import": {"--currency", "--date-order", "--decimal-point", "--images", "--output-dir", "--split"}
    | {"--document-type", "--progress", "--no-progress"},
    "vl find-lr": {"--config", "--train-file", "--output", "-o", "--start-lr", "--end-lr", "--steps"}
    | {"--progress", "--no-progress"},
    "vl experiments run": {"--allow-several", "--base", "--batch-size", "--dry-run", "--jobs-table", "--max-new-tokens"}
    | {"--output-dir", "--pool", "--priority", "--queue", "--queue-url", "--retry-failed", "--scale-lr", "--test-dir"}
    | _STACK,
    "vl experiments compare": {"--by"} | _JOBS,
    "vl predict": {"--adapter", "--batch-size", "--device", "--fields", "--model-path", "--output", "-o"}
    | {"--progress", "--no-progress"}
    | _SERVER,
    "vl evaluate": {"--adapter", "--model-path", "--output", "-o", "--predictions"} | _ASKING,
    "vl rehearse": {"--batch-size", "--data", "--device", "--max-new-tokens", "--model-path", "--pages"}
    | {"--progress", "--no-progress"},
    "vl compare": {"--baseline-model", "--baseline-predictions", "--finetuned-model", "--finetuned-predictions"}
    | {"--output-dir", "--resamples", "--seed"}
    | _ASKING,
    "vl merge": {"--adapter-path", "--base-model", "--output-dir"},
    "vl smoke": {"--adapter", "--device", "--images", "--max-new-tokens", "--server", "--served-model"},
}
_MODEL = {"--model", "--device", "--precision"}
_DATASET = {"--dataset", "--dynamo-table", "--stack", "--outputs"}
_DATA = _DATASET | {
    *("--eval-dataset", "--split-file", "--max-samples", "--examples", "--merge-amounts", "--no-merge-amounts"),
    *("--allowed-label", "--o-entity-ratio", "--set", "--config"),
}
LAYOUTLM = {
    "train": {"--job-name", "--output-dir", "--jobs-table", "--artifacts-bucket", "--restart"}
    | {"--dataset-snapshot-save", "--dataset-snapshot-load", "--progress", "--no-progress"}
    | {
        "--epochs",
        "--batch-size",
        "--lr",
        "--learning-rate",
        "--warmup-ratio",
        "--label-smoothing",
        "--gradient-accumulation-steps",
    }
    | {"--early-stopping-patience", "--seed"}
    | _MODEL
    | _DATA,
    "evaluate": {"--split-file", "--output", "--predictions"} | _MODEL | _DATASET,
    "predict": {"--input", "--output"} | _MODEL,
    "label-counts": {"--model", "--ratio"} | _DATA,
    "spot-check": {"--receipt", "--seed"} | _MODEL | _DATASET,
    "report": {"--terminal", "--no-terminal"},
    "export": set(),
}
"""Scripts and READMEs use these: taking one away breaks them, and a new one is a decision, not an accident."""


def walk(command: click.Command, path: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """All commands by their words."""
    if not isinstance(command, click.Group):
        return {" ".join(path): command}
    context = click.Context(command)
    found: dict[str, click.Command] = {" ".join(path): command} if command.invoke_without_command else {}
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        found |= walk(child, (*path, name))
    return found


@pytest.mark.parametrize(("program", "expected"), [(group, OPTIONS), (layoutlm.group, LAYOUTLM)])
def test_the_options_of_every_command(program: click.Group, expected: dict[str, set[str]]) -> None:
    """The option surface is frozen."""
    found = {}
    for name, command in walk(program).items():
        options = [option for option in command.params if isinstance(option, click.Option)]
        found[name] = {text for option in options for text in (*option.opts, *option.secondary_opts)}
    assert found == expected


def run_help(program: str, words: Iterable[str], before: str = "") -> set[str]:
    """The slow libraries that a process has loaded which shows the help of each of these commands."""
    slow = {"torch", "transformers", "datasets", "boto3", "botocore", "moto", "pulumi", "matplotlib", "numpy", "rich"}
    code = (
        f"import sys\n{before}\nfrom receipt_trainer.cli.{program} import group\n"
        f"for words in {[*words]!r}:\n"
        "    try: group.main([*words.split(), '--help'])\n"
        "    except SystemExit as end: assert not end.code, words\n"
        f"print('slow:', *(name for name in {slow!r} if sys.modules.get(name) is not None))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_help_of_a_group_is_quick() -> None:
    """A group lists its commands without importing one: nothing is loaded that takes long."""
    assert run_help("receipt_trainer", ["", "receipts", "local", "images", "vl", "vl experiments"]) == set()
    assert run_help("layoutlm", [""]) == set()


@pytest.mark.parametrize("program", ["receipt_trainer", "layoutlm"])
def test_help_of_a_command_needs_no_extra(program: str) -> None:
    """Where no extra is installed, every command can be asked what it does and takes."""
    extras = [name for names in EXTRAS.values() for name in names.split() if name != "google"]
    words = walk(group if program == "receipt_trainer" else layoutlm.group)
    assert run_help(program, words, f"sys.modules.update(dict.fromkeys({extras!r}))") <= {"boto3", "botocore", "rich"}


def test_the_groups_help_names_every_command() -> None:
    """`receipt-trainer --help` lists all commands with a line each."""
    done = subprocess.run(
        [sys.executable, "-m", "receipt_trainer", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    listed = {line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line.strip()}
    assert listed == {name.split()[0] for name in OPTIONS}
