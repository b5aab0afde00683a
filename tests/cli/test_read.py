"""`receipt-trainer read`: files in, answers out, and what happens when something is wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from receipt_trainer.cli.commands.read import _stdout, command, newest_model
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.inference.document_reader import DocumentReader
from receipt_trainer.inference.inputs import page_numbers
from tests.data.sources import samples
from tests.inference.told import ToldModel, record
from tests.job_rows import put_job

RECEIPT = ("N:Big N:Shop", "D:25/12/2018", "Q:2 P:Bread U:1.50 T:3.00", "P:=Tea T:4.00", "TOTAL G:RM7.00")
Read = Callable[..., Result]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Read:
    """The command in a folder of its own, with a model that is told its labels."""
    monkeypatch.setattr(DocumentReader, "open", lambda place, **options: DocumentReader(ToldModel(), **options))  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(command, [*arguments, "--model", "RUN"], input=stdin, catch_exceptions=False)

    return call


def write(name: str, *records: dict[str, Any]) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("".join(json.dumps(one) + "\n" for one in records))


def answers(done: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_folder(read: Read) -> None:
    """One JSON a document, in order of names; folders within are read, hidden and other files are not."""
    write("in/b.jsonl", record("b1", *RECEIPT), record("b2", *RECEIPT))
    write("in/a/a.json", record("a1", *RECEIPT))
    write("in/.hidden/x.jsonl", record("x", *RECEIPT))
    Path("in/notes.md").write_text("no receipt")
    Path("in/settings.json").write_text('{"theme": "dark"}')
    done = read("in", "--workers", "3")
    assert done.exit_code == 0
    assert [(answer["id"], answer["source"]["document"]) for answer in answers(done)] == [
        ("a1", 0),
        ("b1", 0),
        ("b2", 1),
    ]
    assert all(answer["summary"]["total"] == "7.00" for answer in answers(done))


def test_what_cannot_be_read_is_refused_by_name(read: Read) -> None:
    """The others are read; each refusal is a line on stderr and in the output; the exit code is 1."""
    write("in/a.jsonl", record("a1", *RECEIPT), {"id": "broken", "words": []})
    Path("in/b.jpg").write_bytes(b"no image")
    done = read("in")
    assert done.exit_code == 1
    good, broken, image = answers(done)
    assert good["id"] == "a1"
    assert "width" in broken["error"]
    assert image["error"]
    lines = done.stderr.splitlines()
    assert lines[2:] == [
        "bad_record: 1 (left out)",
        "  bad_record: a.jsonl:2 broken ('needs id (a text), width and height: width None, height None')",
    ]
    assert lines[0].startswith("in/a.jsonl: not read: ")
    assert lines[1].startswith("in/b.jpg: not read: ")


def test_standard_input(read: Read) -> None:
    """JSON lines, with a mark of byte order or broken ones among them, and one JSON come through a pipe as well."""
    line = json.dumps(record("r1", *RECEIPT)) + "\n"
    assert [answer["id"] for answer in answers(read("-", stdin=line))] == ["r1"]
    first, broken, last = answers(read("-", stdin="\ufeff" + line + line[:50] + "\n" + line))
    assert (first["id"], last["id"]) == ("r1", "r1")
    assert broken["error"].startswith("line 2 is not JSON")
    pretty = json.dumps([record("r1", *RECEIPT), record("r2", *RECEIPT)], indent=1)
    assert [answer["id"] for answer in answers(read("-", stdin=pretty))] == ["r1", "r2"]
    (nothing,) = answers(read("-", stdin="hello"))
    assert "'hello'" in nothing["error"]


def test_json_lines_by_their_content(read: Read) -> None:
    """A .jsonl may hold one array, or what another program wrote; what is nothing is one refusal, not one a line."""
    Path("array.jsonl").write_text(json.dumps([record("r1", *RECEIPT), {"words": []}], indent=1))
    good, broken = answers(read("array.jsonl"))
    assert good["id"] == "r1"
    assert broken["error"].startswith("[1]: needs id")
    write("lines.json", record("r1", *RECEIPT), record("r2", *RECEIPT))
    assert [answer["id"] for answer in answers(read("lines.json"))] == ["r1", "r2"]
    Path("other.jsonl").write_text(json.dumps({"theme": ["dark"] * 9}, indent=1))
    done = read("other.jsonl")
    assert done.exit_code == 1
    assert len(answers(done)) == 1
    Path("empty.jsonl").write_text("")
    assert answers(read("empty.jsonl"))[0]["error"] == "there is no document in it"


def test_boxes_that_cannot_be_meant_so(read: Read) -> None:
    """The line, and what the boxes may mean instead, are said in words, and once for all receipts: exit code 2."""
    one = record("r1", *RECEIPT)
    parts = [{**word, "box": [edge / 5000 for edge in word["box"]]} for word in one["words"]]
    sizes = [{**word, "box": [*word["box"][:2], 1, 0]} for word in one["words"]]
    write("a.jsonl", one | {"words": parts}, one | {"words": sizes})
    with pytest.raises(UserError, match=r"2 of 2 receipts cannot be used.*fractions of the page"):
        read("a.jsonl", "--output", "answers.jsonl")
    first, second = (json.loads(answer) for answer in Path("answers.jsonl").read_text().splitlines())
    said = "no word in it can be used: the boxes look like fractions of the page, 0..1; pixels are needed"
    assert first["error"] == f"line 1: {said}"
    assert second["error"].startswith("line 2: ")
    assert "words have no text or no box on the page" in second["error"]


def test_the_output_lies_in_the_folder_that_is_read(read: Read) -> None:
    """It is written, not read, also when the command is given again."""
    write("in/a.jsonl", record("a1", *RECEIPT))
    for _ in range(2):
        assert read("in", "--output", "in/out.jsonl").exit_code == 0
    assert [json.loads(line)["id"] for line in Path("in/out.jsonl").read_text().splitlines()] == ["a1"]


def test_odd_files_in_a_folder(read: Read) -> None:
    """A name that is no UTF-8 is read and found again in the output; a link to itself is refused."""
    write("in/a.json", record("a1", *RECEIPT))
    name = os.fsdecode(b"in/\xff.json")
    try:
        Path("in/a.json").rename(name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    Path("in/loop.jpg").symlink_to("loop.jpg")
    for arguments in ([], ["--csv"], ["--table"], ["--output", "out.jsonl"], ["--csv", "--output", "out.csv"]):
        done = read("in", *arguments)
        assert done.exit_code == 1
        assert done.stderr.startswith("in/loop.jpg: not read: ")
    _, good = (json.loads(line) for line in Path("out.jsonl").read_text().splitlines())
    assert good["source"]["file"] == name


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_standard_output_on_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says so; it is no bug of ours."""
    with Path("/dev/full").open("wb", buffering=0) as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", SimpleNamespace(buffer=full))
        with pytest.raises(WorldError, match="No space left"), _stdout() as out:
            out.write("an answer\n")


def test_a_system_that_does_not_tell_its_processors(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a Mac: the command reads all the same."""
    monkeypatch.delattr(os, "sched_getaffinity")
    write("a.jsonl", record("a1", *RECEIPT))
    assert read("a.jsonl").exit_code == 0


def test_output_is_gone_on_with(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the file is not read again, unless it or the options have changed; a cut line is mended."""
    seen: list[str] = []
    real = DocumentReader.answer

    def answer(self: DocumentReader, given: Any) -> Any:
        seen.append(given.name)
        return real(self, given)

    monkeypatch.setattr(DocumentReader, "answer", answer)
    write("in/a.jsonl", record("a1", *RECEIPT), record("a2", *RECEIPT))
    write("in/b.json", record("b1", *RECEIPT))
    assert read("in", "--output", "out.jsonl").exit_code == 0
    whole = Path("out.jsonl").read_bytes()
    assert seen == ["a1", "a2", "b1"]
    read("in", "--output", "out.jsonl")
    assert len(seen) == 3
    Path("out.jsonl").write_bytes(whole[:-40])
    read("in", "--output", "out.jsonl")
    assert seen[3:] == ["b1"]
    assert Path("out.jsonl").read_bytes() == whole
    write("in/b.json", record("b9", *RECEIPT))
    read("in", "--output", "out.jsonl")
    assert seen[4:] == ["b9"]
    assert [json.loads(line)["id"] for line in Path("out.jsonl").read_text().splitlines()] == ["a1", "a2", "b9"]
    read("in", "--output", "out.jsonl", "--date-order", "dmy")
    assert len(seen) == 8


def test_interrupted(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl+C ends with 130, and what was read before stays in the file."""
    real = DocumentReader.answer

    def answer(self: DocumentReader, given: Any) -> Any:
        if given.name == "a2":
            raise KeyboardInterrupt
        return real(self, given)

    monkeypatch.setattr(DocumentReader, "answer", answer)
    write("a.jsonl", record("a1", *RECEIPT), record("a2", *RECEIPT))
    done = read("a.jsonl", "--output", "out.jsonl", "--workers", "1")
    assert done.exit_code == 130
    assert "out.jsonl" in done.stderr
    assert [json.loads(line)["id"] for line in Path("out.jsonl").read_text().splitlines()] == ["a1"]


def test_csv(read: Read) -> None:
    """A row a document, or a row an item; no cell is a formula."""
    write("a.jsonl", record("a1", *RECEIPT), {"id": "broken", "words": []})
    rows = list(csv.DictReader(io.StringIO(read("a.jsonl", "--csv").stdout)))
    assert (rows[0]["merchant"], rows[0]["date"], rows[0]["total"]) == ("Big Shop", "2018-12-25", "7.00")
    assert rows[1]["error"]
    items = list(csv.DictReader(io.StringIO(read("a.jsonl", "--csv", "--items").stdout)))
    assert [(item["description"], item["total"]) for item in items] == [("Bread", "3.00"), ("'=Tea", "4.00")]
    assert read("a.jsonl", "--csv", "--output", "out.csv").exit_code == 1
    assert Path("out.csv").read_text().startswith("file,id,merchant")


def test_a_table(read: Read) -> None:
    """Tables fit 80 columns and show summary, items and what to look at."""
    long = "N:" + "Long" * 30
    write("a.jsonl", record("a1", *RECEIPT), record("a2", long, *RECEIPT[1:]))
    done = read("a.jsonl", "--table")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    for text in ("Big Shop", "2018-12-25", "7.00 MYR", "Bread"):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.jpg"], "gone.jpg: no such file"),
        (["empty"], "empty: no photo"),
        (["a.jsonl", "--items"], "--items needs --csv"),
        (["a.jsonl", "--csv", "--table"], "exclude each other"),
        (["a.jsonl", "--table", "--output", "x"], "--table is for looking at"),
        (["a.jsonl", "--pages", "0"], "--pages 0"),
        (["a.jsonl", "--format", "nonsense"], "nonsense"),
    ],
)
def test_mistakes(read: Read, arguments: list[str], said: str) -> None:
    """Each mistake is a line that names it."""
    Path("empty").mkdir()
    write("a.jsonl", record("a1", *RECEIPT))
    with pytest.raises(UserError, match=said):
        read(*arguments)


def test_no_model() -> None:
    """Without a model and without a stack the command says what to give."""
    with pytest.raises(UserError, match="which model"):
        CliRunner().invoke(command, ["a.jsonl"], catch_exceptions=False)


@pytest.mark.parametrize(("text", "numbers"), [("2", {2}), ("1-3", {1, 2, 3}), ("1, 4-5", {1, 4, 5})])
def test_pages(text: str, numbers: set[int]) -> None:
    """Pages are numbers and ranges."""
    assert page_numbers(text) == numbers


@pytest.mark.parametrize("name", ["a.json", "a.tsv", "-"])
def test_pages_of_files_of_words(read: Read, name: str) -> None:
    """--pages chooses pages of other programs' files, too; a document that lacks one is refused as a photo is."""
    content = samples.tesseract_tsv(3) if name == "a.tsv" else json.dumps(samples.textract(3))
    if name != "-":
        Path(name).write_text(content)
    stdin = content if name == "-" else None
    (answer,) = answers(read(name, "--pages", "1,3", stdin=stdin))
    assert [page["page"] for page in answer["pages"]] == [1, 3]
    assert {word["page"] for word in answer["words"]} == {1, 3}
    refused = read(name, "--pages", "2-4", stdin=stdin)
    assert refused.exit_code == 1
    assert "there is no page 4" in refused.stderr
    assert "it has 1, 2, 3" in refused.stderr


def test_pages_of_our_own_receipts(read: Read) -> None:
    """A receipt of ours is a page: page 1 is it, another is refused by name."""
    write("a.jsonl", record("a1", *RECEIPT))
    (answer,) = answers(read("a.jsonl", "--pages", "1"))
    assert answer["summary"]["total"] == "7.00"
    refused = read("a.jsonl", "--pages", "2")
    assert (refused.exit_code, refused.stderr) == (1, "a.jsonl: not read: there is no page 2 in a1: it has 1\n")


def test_the_newest_model_of_a_stack(jobs_table: str) -> None:
    """The newest LayoutLM job that has finished with artifacts; failed jobs and other families do not count."""
    with pytest.raises(UserError, match="no job of this stack has finished"):
        newest_model(jobs_table)
    layoutlm, other = json.dumps({"family": "layoutlm"}), json.dumps({"family": "paddleocr-vl"})
    for day, status, spec, artifacts in (
        (1, "SUCCEEDED", layoutlm, "s3://b/runs/a/1"),
        (2, "SUCCEEDED", layoutlm, "s3://b/runs/a/2"),
        (3, "SUCCEEDED", other, "s3://b/runs/a/3"),
        (4, "FAILED", layoutlm, "s3://b/runs/a/4"),
        (5, "SUCCEEDED", layoutlm, None),
    ):
        created_at = f"2026-01-0{day}T00:00:00.000000+00:00"
        more = {"artifacts": artifacts} if artifacts else {}
        put_job(jobs_table, f"job-{day}", name="a", status=status, created_at=created_at, spec=spec, **more)
    assert newest_model(jobs_table) == "s3://b/runs/a/2"
