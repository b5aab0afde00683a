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
    write(path, line("a", "1"), line("b", "2"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert write(path, line("a", "1"), line("b", "2")) == [True, False]
    assert path.read_bytes() == whole


def test_refusals_are_tried_again(tmp_path: Path) -> None:
    """A document that was refused is read again; what then comes stands in its place."""
    path = tmp_path / "out.jsonl"
    refusal = {key: value for key, value in line("a", "1").items() if key != "model"} | {"error": "broken"}
    write(path, refusal, line("b", "2"))
    assert write(path, line("a", "1"), line("b", "2")) == [False, True]
    assert sorted(one["id"] for one in lines(path)) == ["a", "b"]
    assert all("error" not in one for one in lines(path))


def test_a_document_that_was_read_and_then_refused(tmp_path: Path) -> None:
    """A refusal that is the last word on a document is not taken for its answer of before."""
    path = tmp_path / "out.jsonl"
    write(path, line("a", "1"), line("b", "2"))
    refusal = {key: value for key, value in line("a", "").items() if key != "model"} | {"error": "broken"}
    write(path, refusal)
    assert write(path, line("a", "1")) == [False]
    assert sorted(one["id"] for one in lines(path)) == ["a", "b"]


def test_a_file_that_has_fewer_documents(tmp_path: Path) -> None:
    """Answers of the documents that are no longer in it are taken out, whoever has read them; others stay."""
    path = tmp_path / "out.jsonl"
    sources = [line("a", str(n)) for n in range(4)] + [line("b", "x")]
    for number, one in enumerate(sources[:4]):
        one["source"]["document"] = number
    sources[3]["model"] = {"version": "v0"}
    write(path, *sources)
    with open_answers(path, "v1", "") as answers:
        answers.end_file("a", 2)
        answers.end_file("c", 0)
    assert [one["source"]["sha256"] for one in lines(path)] == ["0", "1", "x"]


def test_a_file_that_has_a_new_name(tmp_path: Path) -> None:
    """What is read under another name replaces its answer if nothing has the old name; a copy does not."""
    path, old, copied = tmp_path / "out.jsonl", tmp_path / "a.jpg", tmp_path / "b.jpg"
    for file in (old, copied):
        file.touch()
    write(path, line(str(old), "1"), line(str(copied), "2"))
    old.unlink()
    write(path, line("moved.jpg", "1"), line("copy.jpg", "2"))
    assert [one["id"] for one in lines(path)] == [str(copied), "moved.jpg", "copy.jpg"]


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
