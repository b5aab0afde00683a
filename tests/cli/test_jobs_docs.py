"""What docs/jobs.md shows exists; its commands are looked at by tests/test_docs.py."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import yaml

from receipt_trainer.config.job_file import read_job
from receipt_trainer.jobs import rows

TEXT = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()


def blocks(kind: str) -> list[str]:
    """The code blocks of one kind."""
    found = re.findall(rf"^```{kind}\n(.*?)^```", TEXT, flags=re.M | re.S)
    assert found
    return found


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
