"""`receipt-trainer receipts`, as a user runs it."""

from __future__ import annotations

import gzip
import json
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import UNKNOWN
from receipt_trainer.data.sources.dynamodb.read import read_labelled
from receipt_trainer.data.sources.dynamodb.write import mark_imported
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.serving.corrections import Correction, Photo
from receipt_trainer.serving.table_corrections import TableCorrections
from tests.cli.jobs import Caller
from tests.data.sources import samples
from tests.data.table_helpers import everything, put
from tests.fault_proxy import Answer, FaultProxy
from tests.fork_server import Program
from tests.waiting import TIMEOUT_S


def records(count: int, words: int = 4) -> list[dict[str, Any]]:
    """Lines of a JSON lines file; the first of every three has no label."""
    return [
        {
            **{"id": f"r{n:03d}", "source": "mine", "split": "train", "width": 800, "height": 1600},
            "words": [
                {
                    "text": f"w{i}",
                    "box": [10, 20 * i + 1, 90, 20 * i + 15],
                    "line": i,
                    "label": "DATE" if n % 3 else "O",
                }
                for i in range(words)
            ],
            "fields": {"é": 1.0},
        }
        for n in range(count)
    ]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    """Write a JSON lines file."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_import_stats_export(receipts_table: str, call: Caller, tmp_path: Path) -> None:
    """What is imported is counted by stats and exported again, line by line the same, labelled ones or all.

    Each line says, too, whether the import counts as confirmed: where people have labelled.
    """
    source = write(tmp_path / "in.jsonl", records(6))
    imported = call("receipts", "import", str(source), "--progress")
    assert imported.code == 0, imported.err
    assert "6 receipts written" in imported.out
    stats = call("receipts", "stats")
    assert stats.code == 0, stats.err
    assert "mine" in stats.out
    assert "DATE" in stats.out
    for flags, wanted in (((), [r for n, r in enumerate(records(6)) if n % 3]), (("--all",), records(6))):
        output = tmp_path / "out.jsonl.gz"
        done = call("receipts", "export", "-o", str(output), *flags)
        assert done.code == 0, done.err
        lines = [json.loads(line) for line in gzip.decompress(output.read_bytes()).decode().splitlines()]
        reviews = [line.pop("review") for line in lines]
        assert sorted(lines, key=lambda line: str(line["id"])) == wanted
        labelled = [any(word["label"] != "O" for word in line["words"]) for line in lines]
        assert [(review["confirmed"], review["by"]) for review in reviews] == [(one, "import") for one in labelled]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl.gz"]


def test_export_to_stdout_is_only_data(receipts_table: str, call: Caller, tmp_path: Path) -> None:
    """`-o -` writes JSON lines to stdout and everything else to stderr."""
    call("receipts", "import", str(write(tmp_path / "in.jsonl", records(3))))
    done = call("receipts", "export", "-o", "-", "--progress")
    assert [json.loads(line)["id"] for line in done.out.splitlines()]
    assert "2 receipts" in done.err


def test_killed_import_is_completed_by_running_it_again(
    receipts_table: str, call: Caller, fault_proxy: FaultProxy, vl_cli: Program, tmp_path: Path
) -> None:
    """SIGKILL in the middle of an import, then the same command again: nothing twice, nothing missing."""
    source = write(tmp_path / "in.jsonl", records(12, words=40))
    child = vl_cli.start(["receipts", "import", source], tmp_path / "child.log")

    def kill_at_ninth_write(name: str, count: int, body: dict[str, Any]) -> Answer | None:
        if name == "BatchWriteItem" and count == 9:
            child.send_signal(signal.SIGKILL)
        return None

    fault_proxy.rule = kill_at_ninth_write
    assert child.wait(TIMEOUT_S) == -signal.SIGKILL
    fault_proxy.rule = lambda name, count, body: None
    complete = [i for i in dynamo.scan(clients.dynamodb(), receipts_table, "t") if i["TYPE"] == "RECEIPT"]
    assert len(complete) < 12
    again = call("receipts", "import", str(source))
    assert f"{12 - len(complete)} receipts written, 0 replaced, {len(complete)} unchanged" in again.out
    wanted = [mark_imported(each) for each in read_jsonl(source, ProblemLog()) if each.is_labelled()]
    assert list(read_labelled(receipts_table, ProblemLog())) == sorted(wanted, key=lambda receipt: receipt.key)
    types = [item["TYPE"] for item in dynamo.scan(clients.dynamodb(), receipts_table, "t")]
    counts = {name: types.count(name) for name in set(types)}
    assert counts.pop("RECEIPT_REVIEW") == 12
    assert counts == {"RECEIPT": 12, "RECEIPT_LINE": 480, "RECEIPT_WORD": 480, "RECEIPT_WORD_LABEL": 320}


def test_import_names_broken_receipts_and_goes_on(receipts_table: str, call: Caller, tmp_path: Path) -> None:
    """A broken line is named on stderr and costs only itself; --dry-run writes nothing."""
    lines = records(2)
    lines[0]["words"][0]["box"] = [0, 0, 9000, 10]
    source = write(tmp_path / "in.jsonl", [*lines, {"id": "x"}])
    done = call("receipts", "import", str(source), "--dry-run")
    assert done.code == 0
    assert "2 receipts would be written" in done.out
    assert "box_outside_page: 1 (left out)" in done.err
    assert "bad_record: 1 (left out)" in done.err
    assert list(dynamo.scan(clients.dynamodb(), receipts_table, "t")) == []


def test_an_import_that_takes_labels_away_asks(receipts_table: str, call: Caller, tmp_path: Path) -> None:
    """`lable` for `label` over stored receipts: how many words would lose theirs is said, and nothing is written
    without --yes where nobody can answer; a label that a person set stays in any case.
    """
    call("receipts", "import", str(write(tmp_path / "in.jsonl", records(2)[1:])))
    labelled = [i for i in dynamo.scan(clients.dynamodb(), receipts_table, "t") if i["TYPE"] == "RECEIPT_WORD_LABEL"]
    judged = labelled[0] | {"label_proposed_by": "ann"}
    dynamo.put(clients.dynamodb(), receipts_table, judged, "t")
    lines = json.loads(json.dumps(records(2)[1:]).replace('"label"', '"lable"'))
    source = str(write(tmp_path / "in.jsonl", lines))
    before = sorted(map(str, dynamo.scan(clients.dynamodb(), receipts_table, "t")))
    done = call("receipts", "import", source)
    assert done.code == 2
    assert f"{len(labelled) - 1} words would lose their label" in done.err
    assert "give --yes" in done.err
    assert "there is 'lable' and no 'label': is 'label' meant?" in done.err
    assert sorted(map(str, dynamo.scan(clients.dynamodb(), receipts_table, "t"))) == before
    assert call("receipts", "import", source, "--yes").code == 0
    (receipt,) = read_labelled(receipts_table, ProblemLog())
    assert [word.valid_label() for word in receipt.words if word.labels] == [labelled[0]["SK"].rpartition("#")[2]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "--dynamo-table", "nope", "-o", "x.jsonl"], "there is no table 'nope'"),
        (["import", "--dynamo-table", "nope", "in.jsonl"], "there is no table 'nope'"),
        (["import", "none.jsonl"], "none.jsonl: cannot read receipts: No such file"),
        (["export", "-o", "x.csv"], "must be called *.jsonl or *.jsonl.gz"),
    ],
)
def test_mistakes_of_the_user_are_one_line_and_exit_2(
    receipts_table: str,
    call: Caller,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    """A wrong table, file or name ends with one line that names it, exit code 2, no traceback, no file left."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in.jsonl", records(1))
    done = call("receipts", *arguments)
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
    assert words in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_fault_of_the_world_is_one_line_and_exit_1(
    receipts_table: str, call: Caller, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that throttles beyond the retries ends with one line and exit code 1."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fault_proxy.rule = lambda name, count, body: (500, {"__type": "x#InternalServerError", "message": "sorry"})
    done = call("receipts", "stats")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "InternalServerError: sorry" in done.err


def test_files_of_other_programs_are_imported_and_exported_the_same(
    call: Caller, receipts_table: str, tmp_path: Path
) -> None:
    """What Textract and people said goes in by one command; each export of it imports without any change."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "expense.json").write_text(json.dumps(samples.textract_expense()))
    (tmp_path / "in" / "tasks.json").write_text(json.dumps(samples.label_studio()))
    first = call("receipts", "import", str(tmp_path / "in"))
    assert first.code == 0, first.err
    assert "2 receipts written" in first.out
    for format, name in (("label-studio", "out.json"), ("hf", "out.jsonl")):
        output = tmp_path / name
        exported = call("receipts", "export", "--all", "--format", format, "-o", str(output))
        assert exported.code == 0, exported.err
        again = call("receipts", "import", str(output), "--format", format)
        assert "0 receipts written, 0 replaced, 2 unchanged" in again.out, again.err
    assert '<Label value="DATE"/>' in (tmp_path / "out.config.xml").read_text()
    refused = call("receipts", "import", str(tmp_path / "out.config.xml"))
    assert refused.code == 2
    assert len(refused.err.splitlines()) == 1


def photographed(table: str, bucket: str, image_id: str) -> None:
    """A corrected receipt with two versions of its photo."""
    page, box = [{"page": 1, "width": 100, "height": 100}], [1, 1, 9, 9]
    words = [{"text": "a", "box": box, "label": "DATE", "proposed": "TAX", "line": 0, "by_person": True}]
    body = {"pages": page, "words": words, "confirmed": True}
    for content in (b"one", b"two"):
        corrections = TableCorrections(table, bucket=bucket)
        corrections.save(image_id, Correction.model_validate(body), Photo(content, "image/jpeg"))


def test_delete_takes_rows_marks_and_every_version_of_the_photo(
    receipts_table: str, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what was named goes; --dry-run says the same and deletes nothing; without --yes a terminal is asked."""
    s3, bucket, image_id, other = clients.s3(), f"photos-{uuid4().hex[:8]}", str(uuid4()), str(uuid4())
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    photographed(receipts_table, bucket, image_id)
    photographed(receipts_table, bucket, other)
    before = everything(receipts_table)
    dry = call("receipts", "delete", image_id, "--dry-run")
    assert "1 receipts (7 items, 2 versions of photos) would be deleted" in dry.out, dry.err
    asked = call("receipts", "delete", f"{image_id}#00001")
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert everything(receipts_table) == before
    done = call("receipts", "delete", f"{image_id}#00001", "--yes")
    assert "1 receipts deleted (7 items, 2 versions of photos)" in done.out, done.err
    assert everything(receipts_table) == {key: item for key, item in before.items() if image_id not in key[0]}
    left = s3.list_object_versions(Bucket=bucket)
    assert {each["Key"] for each in left["Versions"]} == {f"photos/{other}"}
    gone = call("receipts", "delete", image_id, "--yes")
    assert (gone.code, "no such receipt" in gone.err) == (2, True)


def test_delete_leaves_the_photo_to_the_other_receipts_of_its_image(receipts_table: str, call: Caller) -> None:
    """A photo goes with the last receipt on it, and one that another program has stored is named and stays."""
    image_id, box = str(uuid4()), {"x": 0.1, "y": 0.7, "width": 0.2, "height": 0.1}
    for number in ("00001", "00002"):
        head = {"PK": f"IMAGE#{image_id}", "SK": f"RECEIPT#{number}", "TYPE": "RECEIPT", "width": 9, "height": 9}
        word = {"PK": f"IMAGE#{image_id}", "SK": f"RECEIPT#{number}#LINE#00001#WORD#00001", "TYPE": "RECEIPT_WORD"}
        letter = {"PK": f"IMAGE#{image_id}", "SK": f"{word['SK']}#LETTER#00001", "TYPE": "RECEIPT_LETTER"}
        put(receipts_table, head, word | {"text": "a", "bounding_box": box}, letter)
    put(receipts_table, {"PK": f"IMAGE#{image_id}", "SK": "IMAGE", "raw_s3_bucket": "theirs", "raw_s3_key": "a.png"})
    first = call("receipts", "delete", f"{image_id}#00002", "--yes")
    assert (first.code, first.err) == (0, "")
    assert len(everything(receipts_table)) == 4
    second = call("receipts", "delete", f"{image_id}#00001", "--yes")
    assert "not deleted: the image s3://theirs/a.png, which others wrote" in second.err
    assert [sk for _, sk in everything(receipts_table)] == ["IMAGE"]


def test_labels_of_people_in_part_are_no_confirmation(call: Caller, receipts_table: str, tmp_path: Path) -> None:
    """--partial, in any format: words that people labelled are taught alone; a file may say so itself."""
    (tmp_path / "tasks.json").write_text(json.dumps(samples.label_studio()))
    marked = records(2)[1] | {"review": {"confirmed": False, "by": "ann", "at": ""}}
    assert call("receipts", "import", str(tmp_path / "tasks.json"), "--partial").code == 0
    assert call("receipts", "import", str(write(tmp_path / "in.jsonl", [marked]))).code == 0
    receipts = list(read_labelled(receipts_table, ProblemLog()))
    assert len(receipts) == 2
    for receipt in receipts:
        wanted = [UNKNOWN if word.is_open() else word.valid_label() or UNKNOWN for word in receipt.words]
        assert receipt.taught_labels() == wanted
    stats = call("receipts", "stats")
    assert "in part" in stats.out
