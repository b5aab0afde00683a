"""Files of values that are too large or no text, as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.config.yaml import MAX_BYTES
from tests.cli.jobs import Caller


@pytest.mark.parametrize("command", ["submit-job", "sweep"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("description: {long}", "job.yaml:3: description has 5,000 characters; at most 4,000"),
        ('description: "a \\ud83e b"', "job.yaml:3: description holds \\ud83e, half a character"),
        ('tags: {{"a\\ud800": b}}', "job.yaml:3: tags holds \\ud800, half a character"),
        ('data_config:\n  allowed_labels: ["A",\n  "\\udfff"]', "job.yaml:5: data_config.allowed_labels holds \\udfff"),
        ("tags: {{team: {long}}}", "job.yaml:3: tags.team has 5,000 characters; at most 256"),
        ("data_config: {{allowed_labels: [{many}]}}", "bytes in the jobs table; at most 350,000"),
    ],
)
def test_a_job_file_is_refused_with_line_and_key(
    command: str, text: str, said: str, call: Caller, tmp_path: Path, jobs_table: str, queue_url: str
) -> None:
    """One line, exit code 2, and nothing is stored, by the commands that read one."""
    path = tmp_path / "job.yaml"
    many = ", ".join(f"{n}" + "L" * 4000 for n in range(90))
    path.write_text(f"family: layoutlm\njob_name: a\n{text.format(long='d' * 5000, many=many)}\n")
    more = ("--learning-rates", "1e-4,1e-5") if command == "sweep" else ()
    found = call(command, "--config", str(path), "--queue-url", queue_url, *more)
    assert (found.code, found.out) == (2, "")
    assert said in found.err
    assert len(found.err.splitlines()) == 1
    assert clients.dynamodb().scan(TableName=jobs_table)["Count"] == 0


def test_a_file_of_megabytes_is_refused_before_it_is_parsed(call: Caller, tmp_path: Path) -> None:
    """8 MB of YAML take a minute to parse: of every file of values that a command reads the size is looked at first,
    and not that this one is no YAML."""
    path = tmp_path / "job.yaml"
    path.write_text("{" * 8_000_000)
    (tmp_path / "base.yaml").write_text(path.read_text())
    for words in (
        ("submit-job", "--config", path),
        ("sweep", "--config", path, "--learning-rates", "1e-4", "--dry-run"),
        ("vl", "train", "--config", path),
        ("vl", "experiments", "run", tmp_path, "--base", tmp_path / "base.yaml"),
    ):
        said = call(*words)
        assert said.code == 2, words
        assert f"it has 8,000,000 bytes; at most {MAX_BYTES:,}" in said.err
        assert len(said.err.splitlines()) == 1
