"""What `layoutlm-cli` says of itself, and what it says of mistakes."""

from __future__ import annotations

import gzip
from pathlib import Path

import click
import pytest

import receipt_trainer
from receipt_trainer.cli.layoutlm import group
from tests.cli.conftest import Trained
from tests.cli.layoutlm import PROGRAM, run, succeed

_MODEL = {"--model", "--device", "--precision"}
_DATASET = {"--dataset", "--dynamo-table", "--stack", "--outputs"}
_DATA = _DATASET | {
    *("--eval-dataset", "--split-file", "--max-samples", "--examples", "--merge-amounts", "--no-merge-amounts"),
    *("--allowed-label", "--o-entity-ratio", "--set", "--config"),
}
OPTIONS = {
    "train": {"--job-name", "--output-dir", "--jobs-table", "--artifacts-bucket", "--restart"}
    | {"--dataset-snapshot-save", "--dataset-snapshot-load", "--progress", "--no-progress"}
    | {"--epochs", "--batch-size", "--lr", "--warmup-ratio", "--label-smoothing", "--gradient-accumulation-steps"}
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


def test_the_options_of_every_command() -> None:
    """The option surface is frozen."""
    context = click.Context(group)
    found = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        options = [option for option in command.params if isinstance(option, click.Option)]
        found[name] = {text for option in options for text in (*option.opts, *option.secondary_opts)}
    assert found == OPTIONS


def test_help_names_every_command(tmp_path: Path) -> None:
    """`--help` lists all commands."""
    done = succeed("--help", cwd=tmp_path)
    assert all(name in done.stdout.decode() for name in OPTIONS)


def test_version_says_which_installation_it_is(tmp_path: Path) -> None:
    """`--version`: the version, and the path of the package that answers."""
    said = succeed("--version", cwd=tmp_path).stdout.decode()
    assert said == f"layoutlm-cli {receipt_trainer.__version__} ({Path(receipt_trainer.__file__).parent})\n"
    assert PROGRAM.is_file()


BARE = '{"id": "a", "width": 9, "height": 9, "words": [{"text": "x", "box": [1, 1, 2, 2], "line": 0}]}\n'
HURT = gzip.compress(BARE.encode(), mtime=0)[:12] + b"\xff" * 40
JOB = "job_name: a\ntraining_config:\n  num_epochs: 1\n  epoch: 2\n"
TRAIN = ["train", "--job-name", "m", "--output-dir", "out", "--model", "tiny"]
CHECK = ["spot-check", "--model", "RUN", "--dataset", "RECEIPTS"]
MISTAKES = {
    "missing input": (["predict", "--model", "RUN", "--input", "no.jsonl"], ["no.jsonl", "No such file"]),
    "missing data": (["evaluate", "--model", "RUN", "--dataset", "no.jsonl"], ["no.jsonl", "No such file"]),
    "damaged data": (["evaluate", "--model", "RUN", "--dataset", "hurt.jsonl.gz"], ["hurt.jsonl.gz", "cannot read"]),
    "damaged input": (["predict", "--model", "RUN", "--input", "hurt.jsonl.gz", "--output", "o"], ["hurt.jsonl.gz"]),
    "unknown data": (["evaluate", "--model", "RUN", "--dataset", "mine"], ["'mine'", "*.jsonl"]),
    "no table": (["evaluate", "--model", "RUN"], ["--dynamo-table"]),
    "no model": (["evaluate", "--model", ".", "--dataset", "RECEIPTS"], [".", "no trained model"]),
    "no model to predict": (["predict", "--model", "nowhere", "--output", "o"], ["nowhere", "no trained model"]),
    "no labels": (["evaluate", "--model", "RUN", "--dataset", "bare.jsonl"], ["bare.jsonl", "VALID label"]),
    "other split": (
        ["evaluate", "--model", "RUN", "--dataset", "RECEIPTS", "--split-file", "job.yaml"],
        ["job.yaml", "none of the"],
    ),
    "folder as output": (
        ["evaluate", "--model", "RUN", "--dataset", "RECEIPTS", "--output", "folder"],
        ["folder", "cannot be written"],
    ),
    "unknown receipt": ([*CHECK, "--receipt", "nobody"], ["nobody", "RECEIPTS"]),
    "unknown setting": ([*TRAIN, "--dataset", "RECEIPTS", "--set", "epochz=3"], ["epochz", "num_epochs"]),
    "setting of the wrong kind": ([*TRAIN, "--dataset", "RECEIPTS", "--set", "num_epochs=x"], ["num_epochs", "'x'"]),
    "unknown key in a job file": ([*TRAIN, "--config", "job.yaml"], ["job.yaml:4", "'epoch'"]),
    "job name that is a path": (["train", "--job-name", "../x", "--dataset", "RECEIPTS"], ["--job-name", "../x"]),
    "unknown label": (
        [*TRAIN, "--dataset", "RECEIPTS", "--allowed-label", "AMOUNT"],
        ["AMOUNT", "--merge-amounts", "GRAND_TOTAL"],
    ),
    "broken ratio": (["label-counts", "--dataset", "RECEIPTS", "--ratio", "nan"], ["--ratio", "nan"]),
}


@pytest.mark.parametrize(("arguments", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line(arguments: list[str], said: list[str], trained: Trained, tmp_path: Path) -> None:
    """A mistake ends with exit code 2 and one line that names it, and leaves no file behind."""
    (tmp_path / "bare.jsonl").write_text(BARE)
    (tmp_path / "hurt.jsonl.gz").write_bytes(HURT)
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    places = {"RUN": str(trained.run_dir), "RECEIPTS": str(trained.receipts)}
    done = run(*(places.get(argument, argument) for argument in arguments), cwd=tmp_path)
    stderr = done.stderr.decode()
    assert done.returncode == 2, stderr
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert all(places.get(words, words) in stderr for words in said), stderr
    assert done.stdout == b""
    assert sorted(tmp_path.rglob("*")) == before
