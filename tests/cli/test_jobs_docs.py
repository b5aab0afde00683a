"""What docs/jobs.md shows exists."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from pathlib import Path

import pytest
import yaml

from receipt_trainer.config.job_file import read_job
from receipt_trainer.jobs import rows
from tests.cli.test_surface import OPTIONS

TEXT = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()


def blocks(kind: str) -> list[str]:
    """The code blocks of one kind."""
    found = re.findall(rf"^```{kind}\n(.*?)^```", TEXT, flags=re.M | re.S)
    assert found
    return found


SHOWN = [
    command.strip()
    for block in blocks("console")
    for line in block.splitlines()
    for command in line.removeprefix("$ ").split("&&")
    if not command.lstrip().startswith(("pulumi ", "aws ", "topic="))  # see tests/test_docs.py
]


@pytest.mark.parametrize("line", SHOWN)
def test_commands_and_options_exist(line: str) -> None:
    """Every command line of the page is a command of ours with options that it has."""
    program, command, *words = shlex.split(line)
    assert program == "receipt-trainer"
    assert {word for word in words if word.startswith("-")} <= OPTIONS[command]


def test_options_in_the_text_exist() -> None:
    """Every option that the page's sentences and tables name belongs to some command."""
    prose = re.sub(r"^```.*?^```", "", TEXT, flags=re.M | re.S)
    named = set(re.findall(r"`[^`\n]*?(--[a-z-]+)", prose))
    assert named
    assert named <= {option for options in OPTIONS.values() for option in options}


def test_the_job_file_is_one() -> None:
    """The job file of the page is accepted as it stands."""
    (block,) = blocks("yaml")
    assert read_job(yaml.safe_load(block), "the page").family == "layoutlm"


def test_the_python_example_calls_what_there_is() -> None:
    """Names that the Python example imports exist, and the function takes the arguments that it is given."""
    from receipt_trainer.jobs.submit import submit_training_job

    (block,) = blocks("python")
    (call,) = [
        node
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "submit_training_job"
    ]
    assert {keyword.arg for keyword in call.keywords} <= set(inspect.signature(submit_training_job).parameters)


def test_every_state_is_explained() -> None:
    """The table of states has them all."""
    assert {state for state in rows.STATES if f"\n| {state} |" in TEXT} == set(rows.STATES)
