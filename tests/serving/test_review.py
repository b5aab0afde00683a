"""The queue of receipts to review: its order, what is done, the photos of its receipts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt, Review
from receipt_trainer.data.sources.dynamodb.write import import_receipts
from receipt_trainer.data.sources.record import parse_record
from receipt_trainer.errors import UserError
from receipt_trainer.inference.document_reader import DocumentReader
from receipt_trainer.serving.corrections import Correction, FileCorrections, Photo
from receipt_trainer.serving.holder import Held, Holder
from receipt_trainer.serving.review import ReviewQueue, photo_beside, queue_of_file
from receipt_trainer.serving.table_corrections import TableCorrections, queue_of_table
from tests.inference.told import ToldModel, record
from tests.serving.standing import Standing

JPEG = b"\xff\xd8\xff\xe0 a photo"


class Unsure(ToldModel):
    """Is the less sure of a receipt, the longer it is."""

    def _read(self, receipt: Receipt) -> SimpleNamespace:
        self.sure = 0.99 - 0.05 * len(receipt.words)
        return super()._read(receipt)


@pytest.fixture
def holder() -> Holder:
    return Standing(Held(DocumentReader(cast("Any", Unsure())), "default", "told/1", datetime.now(UTC)))


def records(**more: Any) -> list[dict[str, Any]]:
    return [
        record("short", "M:Corner Shop", "T:12.50") | more,
        record("long", "M:Corner Shop", "some other words here", "T:12.50") | more,
        record("middle", "M:Corner Shop and more", "T:12.50") | more,
    ]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def as_receipts(lines: list[dict[str, Any]], **more: Any) -> list[Receipt]:
    found = [parse_record(line | more | {"image_id": str(uuid4())}, "x", ProblemLog()) for line in lines]
    return [each for each in found if each is not None]


def corrected(queue: ReviewQueue, key: str, *, confirmed: bool = True) -> Correction:
    """What the page sends of an entry of which the first word was corrected to DATE."""
    answer = queue.entry(key)
    words = [
        {name: word[name] for name in ("text", "box", "page", "line", "label")} | {"proposed": word["label"]}
        for word in answer["words"]
    ]
    words[0] |= {"label": "DATE", "by_person": True}
    body = {"pages": [{name: answer["pages"][0][name] for name in ("page", "width", "height")}], "words": words}
    return Correction.model_validate_json(json.dumps(body | {"confirmed": confirmed, "review_key": key, "by": "ann"}))


def read(queue: ReviewQueue) -> ReviewQueue:
    queue.start()
    assert queue.is_read.wait(60)
    return queue


def test_the_least_sure_come_first(holder: Holder, tmp_path: Path) -> None:
    """Before the model has read them entries have no confidence; afterwards the lowest is first."""
    queue, _ = queue_of_file(holder, write(tmp_path / "in.jsonl", records()), tmp_path / "out.jsonl")
    assert {entry["confidence"] for entry in queue.entries()} == {None}
    assert queue.progress == (0, 3)
    entries = read(queue).entries()
    assert [entry["name"] for entry in entries] == ["long", "middle", "short"]
    assert entries[0]["confidence"] < entries[1]["confidence"] < entries[2]["confidence"] < 1
    assert queue.progress == (3, 3)
    queue.close()


def test_receipts_that_are_left_out_are_told(holder: Holder, tmp_path: Path) -> None:
    """A receipt of the file that cannot be reviewed is named: the queue seems whole without it."""
    long = record("endless", " ".join(["word"] * 4001))
    queue, _ = queue_of_file(holder, write(tmp_path / "in.jsonl", [*records(), long]), tmp_path / "out.jsonl")
    assert queue.progress == (0, 3)
    assert "1 too_many_words: in.jsonl:4 endless" in queue.problems.said()


def test_what_was_corrected_is_done_and_shown_again(holder: Holder, tmp_path: Path) -> None:
    """A confirmed receipt is done, after a restart too, and shows the person's labels; one in part stays open."""
    source, output = write(tmp_path / "in.jsonl", records()), tmp_path / "out.jsonl"
    queue, receipts = queue_of_file(holder, source, output)
    corrections = FileCorrections(output, known=receipts)
    long, middle, _ = (entry["key"] for entry in read(queue).entries())
    corrections.save("long", corrected(queue, long))
    queue.done(long)
    corrections.save("middle", corrected(queue, middle, confirmed=False))
    again = read(queue_of_file(holder, source, output)[0])
    for one in (queue, again):
        assert [entry["state"] for entry in one.entries()] == ["done", "open", "open"]
        assert one.entry(long)["words"][0]["label"] == "DATE"
        assert one.entry(middle)["words"][0]["label"] == "DATE"
    assert source.read_text() == write(tmp_path / "same.jsonl", records()).read_text()


def test_a_table_is_reviewed_but_for_what_counts_as_whole(holder: Holder, receipts_table: str) -> None:
    """Receipts that nobody confirmed are in the queue, with what is in the table now; older labelled ones are not."""
    open_, confirmed, unlabelled = as_receipts(records())
    labelled = [{"text": "a", "box": [0, 0, 9, 9], "line": 0, "label": "DATE"}]
    (whole,) = as_receipts([{"id": "whole", "width": 100, "height": 100, "words": labelled}])
    stored = [
        replace(open_, review=Review(False, "import")),
        replace(confirmed, review=Review(True, "bob", "2026-01-01T00:00:00+00:00")),
        unlabelled,
        whole,
    ]
    import_receipts(receipts_table, stored, ProblemLog())
    queue = read(queue_of_table(holder, receipts_table))
    states = {entry["key"]: entry["state"] for entry in queue.entries()}
    assert states == {open_.key: "open", confirmed.key: "done", unlabelled.key: "open"}
    TableCorrections(receipts_table).save("x", corrected(queue, open_.key))
    assert queue.entry(open_.key)["words"][0]["label"] == "DATE"
    with pytest.raises(KeyError):
        queue.entry(whole.key)


def test_the_photo_of_a_tables_receipt(holder: Holder, receipts_table: str) -> None:
    """The photo that the IMAGE row names is shown; where it is gone, or no photo that a browser shows, none is."""
    s3, bucket = clients.s3(), f"photos-{uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    (receipt, *_) = as_receipts(records())
    import_receipts(receipts_table, [receipt], ProblemLog())
    queue = read(queue_of_table(holder, receipts_table))
    assert queue.entry(receipt.key)["photo"] is None
    corrections = TableCorrections(receipts_table, bucket=bucket)
    corrections.save("x", corrected(queue, receipt.key), Photo(JPEG, "image/jpeg"))
    assert queue.photo(receipt.key) == Photo(JPEG, "image/jpeg")
    assert queue.entry(receipt.key)["photo"] == f"/v1/review/{receipt.image_id}%2300001/photo"
    s3.delete_object(Bucket=bucket, Key=f"photos/{receipt.image_id}")
    assert queue.photo(receipt.key) is None


def test_a_name_in_a_file_never_leaves_its_folder(holder: Holder, tmp_path: Path) -> None:
    """The photo that a record names is shown where it lies beside the file; paths to anywhere else are none."""
    folder = tmp_path / "in"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    source = write(folder / "in.jsonl", records(image="photos/a.jpg"))
    queue, receipts = queue_of_file(holder, source, tmp_path / "out.jsonl")
    key = next(iter(receipts))
    assert queue.photo(key) == Photo(JPEG, "image/jpeg")
    for named in ("../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", ".", "", "a\0b", "x" * 5000, 7, None):
        (receipt,) = as_receipts(records()[:1], image=named)
        assert photo_beside(folder, receipt) is None, named


def test_corrections_never_go_into_the_reviewed_file(holder: Holder, tmp_path: Path) -> None:
    """By whatever path it is named; and a file without receipts is refused."""
    source = write(tmp_path / "in.jsonl", records())
    with pytest.raises(UserError, match="name another"):
        queue_of_file(holder, source, tmp_path / "x" / ".." / "in.jsonl")
    (tmp_path / "linked.jsonl").hardlink_to(source)
    with pytest.raises(UserError, match="name another"):
        queue_of_file(holder, source, tmp_path / "linked.jsonl")
    with pytest.raises(UserError, match="no receipt"):
        queue_of_file(holder, write(tmp_path / "none.jsonl", []), tmp_path / "out.jsonl")
