"""Corrections: parsed strictly, kept in a file or in the table, and taught as the person left them."""

from __future__ import annotations

import json
import resource
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract.tables import image_pk
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import UNKNOWN, Receipt, Review, Word, WordLabel
from receipt_trainer.data.sources.dynamodb.read import read_all, read_labelled
from receipt_trainer.data.sources.dynamodb.write import import_receipts, mark_imported
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.data.sources.load import load_receipts
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.serving.bodies import PHOTOS
from receipt_trainer.serving.corrections import Correction, Corrections, FileCorrections, Photo
from receipt_trainer.serving.table_corrections import TableCorrections
from tests.data.table_helpers import everything
from tests.fault_proxy import FaultProxy

PHOTO_ID = str(uuid4())


def word(text: str, label: str, place: int, proposed: str | None = "O", **more: Any) -> dict[str, Any]:
    return {"text": text, "box": [10, 20 * place, 90, 20 * place + 15], "line": place, "label": label} | {
        "proposed": proposed,
        **more,
    }


WORDS = [
    word("Corner", "MERCHANT_NAME", 0, "MERCHANT_NAME"),
    word("12/03/2026", "DATE", 1, "TAX", by_person=True),
    word("l2.50", "O", 2, "GRAND_TOTAL", by_person=True),
    word("thanks", "O", 3),
]


def correction(words: list[dict[str, Any]] | None = None, **more: Any) -> Correction:
    body: dict[str, Any] = {
        "pages": [{"page": 1, "width": 200, "height": 400}],
        "words": WORDS if words is None else words,
        "confirmed": True,
        "model": {"name": "default", "version": "job/1"},
        "by": "ann",
    }
    return Correction.model_validate_json(json.dumps(body | more))


class Place:
    """A place where corrections are kept, and what training reads of it."""

    def __init__(self, kind: str, table: str, path: Path) -> None:
        self.kind, self._table, self._path = kind, table, path

    def corrections(self, known: list[Receipt] | None = None) -> Corrections:
        if self.kind == "file":
            return FileCorrections(self._path, known={one.key: one for one in known or []})
        if known:
            import_receipts(self._table, known, ProblemLog())
        return TableCorrections(self._table)

    def read(self) -> list[Receipt]:
        problems = ProblemLog()
        found = read_jsonl(self._path, problems) if self.kind == "file" else read_all(self._table, problems)
        receipts = list(found)
        assert not problems.as_dict()
        return receipts

    def trained_on(self) -> list[Receipt]:
        problems = ProblemLog()
        is_file = self.kind == "file"
        return list(read_jsonl(self._path, problems) if is_file else read_labelled(self._table, problems))


@pytest.fixture(params=["file", "table"])
def place(request: pytest.FixtureRequest, receipts_table: str, tmp_path: Path) -> Place:
    return Place(request.param, receipts_table, tmp_path / "corrections.jsonl")


def labels(receipt: Receipt) -> list[list[tuple[str, str, str]]]:
    return [[(each.name, each.status, each.proposed_by) for each in word.labels] for word in receipt.words]


def test_a_confirmed_correction_is_taught_whole(place: Place) -> None:
    """Labels are VALID, the model's other ones INVALID, who proposed them is kept, and who confirmed, and when."""
    saved = place.corrections().save(PHOTO_ID, correction())
    assert (saved.id, saved.saved_to, saved.num_words, saved.num_labels) == (PHOTO_ID, place.kind, 4, 2)
    (found,) = place.read()
    assert labels(found) == [
        [("MERCHANT_NAME", "VALID", "default/job/1")],
        [("DATE", "VALID", "ann"), ("TAX", "INVALID", "default/job/1")],
        [("GRAND_TOTAL", "INVALID", "default/job/1")],
        [],
    ]
    assert found.taught_labels() == ["MERCHANT_NAME", "DATE", "O", "O"]
    assert found.review == Review(True, "ann")
    assert found.review is not None
    assert found.review.at > "2026"
    assert (found.image_id, found.receipt_id, found.source, found.width) == (PHOTO_ID, 1, "corrections", 200)


def test_a_confirmed_receipt_without_labels_is_taught(place: Place) -> None:
    """That no word of it is anything is a label, too: training finds it, from a file as from a table."""
    said = correction()
    none = [word.model_copy(update={"label": "O", "proposed": None}) for word in said.words]
    place.corrections().save(PHOTO_ID, said.model_copy(update={"words": none}))
    (found,) = [one for one in place.trained_on() if one.is_labelled()]
    assert set(found.taught_labels()) == {"O"}


def test_a_correction_in_part_teaches_the_judged_words_alone(place: Place) -> None:
    """What the person did not look at is neither label nor `O`; that a word is none can be said of it alone."""
    place.corrections().save(PHOTO_ID, correction(confirmed=False))
    (found,) = place.read()
    assert found.taught_labels() == [UNKNOWN, "DATE", "O", UNKNOWN]
    assert labels(found)[0] == [("MERCHANT_NAME", "PENDING", "default/job/1")]


def test_the_same_photo_twice_is_one_receipt_and_the_newer_counts(place: Place) -> None:
    """A label that a person set earlier and changes becomes INVALID; a part may be confirmed later."""
    corrections = place.corrections()
    corrections.save(PHOTO_ID, correction(confirmed=False))
    words = [*WORDS[:2], word("12.50", "GRAND_TOTAL", 2, "GRAND_TOTAL", original_text="l2.50"), WORDS[3]]
    words[1] = words[1] | {"label": "TIME"}
    corrections.save(PHOTO_ID, correction(words))
    (found,) = place.read()
    assert found.taught_labels() == ["MERCHANT_NAME", "TIME", "GRAND_TOTAL", "O"]
    assert (found.words[2].text, found.words[2].extra) == ("12.50", {"original_text": "l2.50"})
    if place.kind == "table":
        assert ("DATE", "INVALID", "ann") in labels(found)[1]
        assert ("O", "INVALID", "ann") in labels(found)[2]


def test_the_same_correction_again_changes_nothing(receipts_table: str) -> None:
    """Saved twice, the table is the same to the last attribute but for no new time stamp."""
    corrections = TableCorrections(receipts_table)
    corrections.save(PHOTO_ID, correction())
    before = list(dynamo.scan(clients.dynamodb(), receipts_table, "test"))
    corrections.save(PHOTO_ID, correction())
    assert list(dynamo.scan(clients.dynamodb(), receipts_table, "test")) == before


def known(review: Review | None = None, *labelled: WordLabel) -> Receipt:
    words = [
        Word(each["text"], (0.05, each["box"][1] / 400, 0.45, each["box"][3] / 400), n, extra={"seg": n})
        for n, each in enumerate(WORDS)
    ]
    words[3] = Word("thanks", words[3].box, 3, labelled, extra={"seg": 3})
    return Receipt(str(uuid4()), 2, tuple(words), "r7", "mine", "train", 200, 400, {"shop": 1}, review)


def test_a_receipt_of_the_queue_keeps_what_it_is(place: Place) -> None:
    """Key, name, source, split, carried fields and who proposed its labels stay; labels that fall are INVALID."""
    stored = known(Review(False, "import"), WordLabel("TIME", "PENDING", "textract"))
    place.corrections([stored]).save("whatever", correction(review_key=stored.key))
    (found,) = place.read()
    assert (found.key, found.name, found.source, found.split) == (stored.key, "r7", "mine", "train")
    assert (found.extra, [each.extra for each in found.words]) == (stored.extra, [{"seg": n} for n in range(4)])
    assert found.taught_labels() == ["MERCHANT_NAME", "DATE", "O", "O"]
    assert labels(found)[3] == [("TIME", "INVALID", "textract")]


@pytest.mark.parametrize("review", [None, Review(True, "bob")])
def test_some_words_of_a_receipt_that_counts_as_whole_leave_it_whole(place: Place, review: Review | None) -> None:
    """A correction that confirms nothing takes no confirmation away, nor what older versions taught."""
    stored = known(review, WordLabel("TIME"))
    place.corrections([stored]).save("r7", correction(confirmed=False, review_key=stored.key))
    (found,) = place.read()
    assert found.review == (review or {"table": None, "file": Review(True)}[place.kind])
    assert found.taught_labels() == ["O", "DATE", "O", "TIME"]


def test_other_words_than_the_stored_ones_are_refused(place: Place) -> None:
    """Labels never land on other words than the person saw."""
    stored = known()
    corrections = place.corrections([stored])
    with pytest.raises(UserError, match="other words"):
        corrections.save("r7", correction(WORDS[1:], review_key=stored.key))
    with pytest.raises(UserError, match="review_key"):
        corrections.save("r7", correction(review_key="nobody#00001"))


def test_a_photo_read_by_another_ocr_replaces_its_words(receipts_table: str) -> None:
    """Of a receipt that only corrections made, the newest correction has all words; none of the old ones stays."""
    corrections = TableCorrections(receipts_table)
    corrections.save(PHOTO_ID, correction())
    corrections.save(PHOTO_ID, correction(WORDS[:2]))
    (found,) = read_all(receipts_table, ProblemLog())
    assert [each.text for each in found.words] == ["Corner", "12/03/2026"]
    assert sum(sk.count("#WORD#") and "#LABEL#" not in sk for _, sk in everything(receipts_table)) == 2


@pytest.mark.parametrize("unlucky", range(1, 5))
def test_a_crash_leaves_a_receipt_that_can_be_read_and_is_not_confirmed(
    receipts_table: str, fault_proxy: FaultProxy, unlucky: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever write fails: what is read teaches nothing that nobody said, and saving again completes."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    stored = known()
    import_receipts(receipts_table, [stored], ProblemLog())
    writes: list[str] = []

    def fail(name: str, count: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        if name in ("PutItem", "BatchWriteItem", "TransactWriteItems"):
            writes.append(name)
            if len(writes) >= unlucky:
                return 500, {"__type": "x#InternalServerError", "message": "sorry"}
        return None

    fault_proxy.rule = fail
    corrections = TableCorrections(receipts_table)
    if unlucky < 4:
        with pytest.raises(Exception, match="sorry"):
            corrections.save("r7", correction(review_key=stored.key))
    else:
        corrections.save("r7", correction(review_key=stored.key))
    fault_proxy.rule = lambda name, count, body: None
    (found,) = read_all(receipts_table, ProblemLog())
    wanted = ["MERCHANT_NAME", "DATE", "O", "O"]
    assert all(
        one in (UNKNOWN, other) or unlucky == 1 for one, other in zip(found.taught_labels(), wanted, strict=True)
    )
    assert bool(found.review and found.review.confirmed) == (unlucky == 4)
    corrections.save("r7", correction(review_key=stored.key))
    (found,) = read_all(receipts_table, ProblemLog())
    assert (found.taught_labels(), found.review) == (wanted, Review(True, "ann"))


def test_an_import_later_takes_no_confirmation_away(receipts_table: str) -> None:
    """What a person confirmed stays confirmed by that person when the file is imported again."""
    stored = known(None, WordLabel("TIME"))
    import_receipts(receipts_table, [mark_imported(stored)], ProblemLog())
    TableCorrections(receipts_table).save("r7", correction(review_key=stored.key))
    import_receipts(receipts_table, [mark_imported(stored, partial=True)], ProblemLog())
    (found,) = read_all(receipts_table, ProblemLog())
    assert found.review == Review(True, "ann")
    assert found.taught_labels() == ["MERCHANT_NAME", "DATE", "O", "O"]


def test_photos_are_kept_under_the_image_id_alone(receipts_table: str) -> None:
    """The key in the IMAGE row is made of the id; without a bucket nothing is kept; other kinds of file are refused."""
    s3, bucket = clients.s3(), f"photos-{uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    photo = Photo(b"\xff\xd8jpeg", "image/jpeg")
    TableCorrections(receipts_table).save(PHOTO_ID, correction(), photo)
    assert (image_pk(PHOTO_ID), "IMAGE") not in everything(receipts_table)
    corrections = TableCorrections(receipts_table, bucket=bucket)
    corrections.save(PHOTO_ID, correction(), photo)
    corrections.save(PHOTO_ID, correction(), photo)
    row = everything(receipts_table)[image_pk(PHOTO_ID), "IMAGE"]
    assert (row["raw_s3_bucket"], row["raw_s3_key"]) == (bucket, f"photos/{PHOTO_ID}")
    assert s3.get_object(Bucket=bucket, Key=row["raw_s3_key"])["Body"].read() == photo.content
    corrections.save("../../etc/passwd", correction(), photo)
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert not any(".." in key or "passwd" in key for key in keys)
    for kind in PHOTOS:  # what can be read can be kept
        corrections.save(PHOTO_ID, correction(), Photo(b"any", kind))
    with pytest.raises(UserError, match="text/html"):
        corrections.save(PHOTO_ID, correction(), Photo(b"<html>", "text/html"))


def test_pages_are_receipts_of_one_image(place: Place) -> None:
    """A PDF of two pages gives two receipts, each with the words of its page."""
    pages = [{"page": 1, "width": 200, "height": 400}, {"page": 3, "width": 200, "height": 400}]
    words = [WORDS[0], WORDS[1] | {"page": 3}]
    assert place.corrections().save(PHOTO_ID, correction(words, pages=pages)).num_words == 2
    first, second = place.read()
    assert (first.key, second.key) == (f"{PHOTO_ID}#00001", f"{PHOTO_ID}#00003")
    assert [each.text for each in second.words] == ["12/03/2026"]


def _save_many(path: str, who: int) -> None:
    corrections = FileCorrections(Path(path))
    for n in range(20):
        corrections.save(f"r-{who}-{n}", correction())


def test_processes_that_save_at_once_lose_no_line(tmp_path: Path) -> None:
    """Lines of several processes never mix; a line that a crash has cut costs only itself."""
    path = tmp_path / "corrections.jsonl"
    path.write_text('{"id": "cut')
    processes = [get_context("fork").Process(target=_save_many, args=(str(path), who)) for who in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    problems = ProblemLog()
    assert len(list(read_jsonl(path, problems))) == 60
    assert problems.counts == {ProblemKind.BAD_RECORD: 1}


def test_a_correction_for_which_there_is_no_room_leaves_nothing(tmp_path: Path) -> None:
    """What was not saved is not in the file in part either, and it can be sent again."""
    path = tmp_path / "corrections.jsonl"
    corrections = FileCorrections(path)
    corrections.save("r1", correction())
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(WorldError, match=r"corrections.jsonl: cannot be written: "):
            corrections.save("r2", correction())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    corrections.save("r2", correction())
    assert [receipt.name for receipt in read_jsonl(path, ProblemLog())] == ["r1", "r2"]


def test_corrections_beside_the_file_that_was_reviewed(tmp_path: Path) -> None:
    """Trained on together, the corrected receipt counts, in whatever order the files are named."""
    stored, source, path = known(None, WordLabel("TIME")), tmp_path / "in.jsonl", tmp_path / "corrections.jsonl"
    source.write_text(to_line(stored))
    (read,) = read_jsonl(source, ProblemLog())
    FileCorrections(path, known={read.key: read}).save("r7", correction(review_key=read.key))
    for names in (f"{source},{path}", f"{path},{source}"):
        (found,) = load_receipts(names, ProblemLog())
        assert found.taught_labels() == ["MERCHANT_NAME", "DATE", "O", "O"]
    assert source.read_text() == to_line(stored)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"confirmed": 1}, "confirmed"),
    ({"pages": []}, "pages"),
    ({"words": []}, "words"),
    ({"surprise": 1}, "surprise"),
    ({"by": " "}, "by"),
    ({"words": [WORDS[0] | {"box": [0, 0, 0, 5]}]}, "no area"),
    ({"words": [WORDS[0] | {"box": [0, 0, 5000, 5]}]}, "no area"),
    ({"words": [WORDS[0] | {"box": [0, 0, float("nan"), 5]}]}, "box"),
    ({"words": [WORDS[0] | {"box": "0 0 1 1"}]}, "box"),
    ({"words": [WORDS[0] | {"page": 2}]}, "page 2"),
    ({"words": [WORDS[0] | {"text": "x" * 2001}]}, "text"),
    ({"words": [WORDS[0] | {"label": "a\nb"}]}, "label"),
    ({"words": [WORDS[0]] * 4001}, "words"),
    ({"pages": [{"page": 1, "width": 0, "height": 9}]}, "width"),
]


@pytest.mark.parametrize(("change", "said"), BAD)
def test_what_is_no_correction_is_refused(change: dict[str, Any], said: str) -> None:
    """Nothing is guessed: wrong types, unknown fields, boxes off the page and too much of anything are errors."""
    with pytest.raises(ValidationError, match=said):
        correction(**change)
