"""A file of answers is gone on with, whatever ended the run before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.errors import UserError
from receipt_trainer.inference.answers_file import open_answers


def line(file: str, sha256: str, *, version: str = "v1", options: str = "", **more: Any) -> dict[str, Any]:
    source = {"file": file, "sha256": sha256, "document": 0, "options": options}
    return {"id": file, "source": source, "model": {"version": version}, **more}


def write(path: Path, *lines: dict[str, Any], version: str = "v1", options: str = "") -> list[bool]:
    """Write what is not there; whether each was."""
    with open_answers(path, version, options) as answers:
        had = [answers.has(one["source"]) for one in lines]
        for one, there in zip(lines, had, strict=True):
            if not there:
                answers.write(one)
    return had


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(one) for one in path.read_text().splitlines()]


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    """The same content by the same model is there; another content, model or option is read anew and replaces it."""
    path = tmp_path / "new" / "out.jsonl"
    assert write(path, line("a", "1"), line("b", "1")) == [False, False]
    assert write(path, line("a", "1"), line("b", "2")) == [True, False]
    assert [(one["id"], one["source"]["sha256"]) for one in lines(path)] == [("a", "1"), ("b", "2")]
    assert write(path, line("a", "1", version="v2"), version="v2") == [False]
    assert write(path, line("a", "1", version="v2", options="x"), version="v2", options="x") == [False]
    assert [(one["id"], one["model"]["version"]) for one in lines(path)] == [("b", "v1"), ("a", "v2")]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_line_that_a_kill_cut(tmp_path: Path, cut: int) -> None:
    """An unfinished last line is cut off, and its document read again."""
    path = tmp_path / "out.jsonl"
    write(path, line("a", "1"), line("b", "1"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert write(path, line("a", "1"), line("b", "1")) == [True, False]
    assert path.read_bytes() == whole


def test_refusals_are_tried_again(tmp_path: Path) -> None:
    """A document that was refused is read again; what then comes stands in its place."""
    path = tmp_path / "out.jsonl"
    refusal = {key: value for key, value in line("a", "1").items() if key != "model"} | {"error": "broken"}
    write(path, refusal, line("b", "1"))
    assert write(path, line("a", "1"), line("b", "1")) == [False, True]
    assert sorted(one["id"] for one in lines(path)) == ["a", "b"]
    assert all("error" not in one for one in lines(path))


@pytest.mark.parametrize("content", ["hello\n", '{"id": "a"}\n', "[1]\n"])
def test_another_file(tmp_path: Path, content: str) -> None:
    """A file that holds something else is refused, and stays as it is."""
    path = tmp_path / "out.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match="not an answer of this command"), open_answers(path, "v1", ""):
        raise AssertionError("it was opened")
    assert path.read_text() == content


def test_what_is_no_file(tmp_path: Path) -> None:
    """A folder or a device, which cannot be gone on with, is refused before anything is read."""
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(UserError, match="not a file"), open_answers(path, "v1", ""):
            raise AssertionError("it was opened")
