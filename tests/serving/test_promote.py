"""`serve promote`: what is put in force, what is refused, and that no promotion is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from receipt_trainer.cli.commands import promote as module
from receipt_trainer.cli.commands.promote import command
from receipt_trainer.cli.commands.read import model_of_stack
from receipt_trainer.contract.names import CORE_LABELS, ENV_ARTIFACTS_BUCKET, ENV_JOBS_TABLE, ENV_RECEIPTS_TABLE
from receipt_trainer.contract.run_record import LayoutLMRecord, SplitRecord
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.data.sources.dynamodb.write import import_receipts
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.evaluation.label_models import compare_models
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.serving.promote import frozen_set, was_held_out
from tests.job_rows import put_job
from tests.packages import make_run
from tests.serving.pointed import Bucket

CREATED = "2026-01-01T00:00:00.000000Z"


class Fake:
    """Stands where a package's reader does: labels every word by its text, wrong on the words of `wrong`."""

    manifest = None

    def __init__(
        self, labels: tuple[str, ...] = CORE_LABELS, wrong: frozenset[str] = frozenset(), merged: bool = False
    ):
        self.space, self.wrong = LabelSpace(labels, merged), wrong

    def read(self, receipts: list[Receipt]) -> list[SimpleNamespace]:
        """Certain of everything."""
        names = ("O", *self.space.labels)
        return [
            SimpleNamespace(probabilities=np.eye(len(names), dtype=np.float32)[[self._of(w, names) for w in one.words]])
            for one in receipts
        ]

    def _of(self, word: Word, names: tuple[str, ...]) -> int:
        label = "O" if word.text in self.wrong else self.space.map(word.text.partition("-")[0])
        return names.index(label)


def receipt(number: int, *labels: str, split: str = "", source: str = "") -> Receipt:
    """Each word's text begins with its label."""
    words = tuple(
        Word(f"{label}-{number}", (0.1, 0.1 * n, 0.2, 0.1 * n + 0.05), n, () if label == "O" else (WordLabel(label),))
        for n, label in enumerate(labels)
    )
    return Receipt(f"image-{number}", 1, words, f"r{number}", source, split)


def receipts(count: int = 20) -> list[Receipt]:
    return [receipt(number, "MERCHANT_NAME", "DATE", "O", "TAX", "GRAND_TOTAL") for number in range(count)]


def record(held: list[Receipt] | None = None, **data: Any) -> LayoutLMRecord:
    keys = [one.key for one in held or ()]
    split = SplitRecord(seed=0, hash="", validation_keys=keys, train_count=9, validation_count=len(keys))
    return LayoutLMRecord(
        job_name="j", job_id="1", model="tiny", training_config={}, data_config=data, label_list=[], split=split
    )


def test_scores_and_what_is_worse() -> None:
    """Perfect models have F1 1; a candidate that misses one label on all receipts is worse beyond the interval."""
    ones = receipts()
    same = compare_models(Fake(), Fake(), ones)  # type: ignore[arg-type]
    assert (same.overall.baseline.value, same.overall.finetuned.value, same.objections) == (1.0, 1.0, [])
    worse = compare_models(Fake(), Fake(wrong=frozenset(f"TAX-{n}" for n in range(20))), ones)  # type: ignore[arg-type]
    assert worse.overall.finetuned.value == pytest.approx(2 * 60 / (60 + 80))
    assert {row.name: row.finetuned.value for row in worse.labels}["TAX"] == 0
    assert worse.objections == ["it is worse, by more than the choice of receipts explains"]
    assert [row.name for row in worse.values] == ["merchant right", "date right", "total right"]
    assert [row.finetuned.value for row in worse.values] == [1.0, 1.0, 1.0]
    late = compare_models(Fake(), Fake(wrong=frozenset(f"DATE-{n}" for n in range(5))), ones)  # type: ignore[arg-type]
    assert [(row.finetuned.hits, row.finetuned.total) for row in late.values] == [(20, 20), (15, 20), (20, 20)]
    better = compare_models(Fake(wrong=frozenset(f"TAX-{n}" for n in range(20))), Fake(), ones)  # type: ignore[arg-type]
    assert better.objections == []


def test_few_receipts_are_not_believed() -> None:
    """Under ten it is said, whichever model is better."""
    assert compare_models(Fake(), Fake(), receipts(9)).objections == [  # type: ignore[arg-type]
        "9 receipts say too little, 10 are needed"
    ]


def test_other_labels() -> None:
    """Labels that are lost are an objection; merged amounts are compared as one; what is gained is said."""
    fewer = compare_models(Fake(), Fake(("DATE", "TAX")), receipts())  # type: ignore[arg-type]
    assert [row.name for row in fewer.labels] == ["DATE", "TAX"]
    assert fewer.overall.finetuned.value == 1.0
    (objection,) = fewer.objections
    assert objection.startswith("it does not read MERCHANT_NAME, ")
    merged = compare_models(Fake(("DATE", "TAX", "GRAND_TOTAL")), Fake(("DATE", "AMOUNT"), merged=True), receipts())  # type: ignore[arg-type]
    assert [row.name for row in merged.labels] == ["DATE", "AMOUNT"]
    assert (merged.overall.baseline.value, merged.overall.finetuned.value) == (1.0, 1.0)
    assert (merged.lost, merged.gained) == (["TAX", "GRAND_TOTAL"], ["AMOUNT"])


def test_only_what_is_known_to_be_held_out_is_used() -> None:
    """By name of the run, or stored under another split than it trained on; generated ones never; doubt counts
    against."""
    plain = receipts(3)
    test = receipt(7, "DATE", split="test")
    generated = receipt(8, "DATE", split="test", source="synthetic")
    by_stored = record(train_split="train", eval_split="validation")
    assert was_held_out(test, by_stored)
    assert not was_held_out(test, record(plain))
    assert not was_held_out(test, None)
    assert not was_held_out(test, record(train_split="train", eval_split="val", split_file="f"))
    assert not was_held_out(plain[0], by_stored)  # stored under no split
    everything = [*plain, test, generated]
    assert frozen_set(everything, [by_stored, by_stored])[0] == [test]
    assert frozen_set(everything, [record(plain), record(plain[1:])])[0] == plain[1:]
    assert frozen_set(everything, [record(plain), None])[0] == []


def test_a_near_duplicate_of_a_training_receipt_is_no_test() -> None:
    """A test receipt that says what a receipt of training says is left out of the comparison."""
    trained = receipt(7, "DATE", "TAX", split="train")
    same, other = (replace(receipt(number, "DATE", "TAX", split="test"), image_id=f"i{number}") for number in (7, 8))
    by_stored = record(train_split="train", eval_split="validation")
    assert frozen_set([trained, same, other], [by_stored, by_stored])[0] == [other]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a package."""
    return make_run(tmp_path_factory.mktemp("promoted") / "run")


@pytest.fixture
def bucket(aws: LocalCloud, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    """The bucket of a stack without tables; the cache is the test's own."""
    made = Bucket(run / "model" / "serve")
    monkeypatch.setenv(ENV_ARTIFACTS_BUCKET, made.name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in (ENV_JOBS_TABLE, ENV_RECEIPTS_TABLE):
        monkeypatch.delenv(name, raising=False)
    return made


def promote(*arguments: str) -> Result:
    """Call the command; what it raises is in `exception`."""
    return CliRunner().invoke(command, arguments, standalone_mode=False)


def test_promote_and_roll_back(bucket: Bucket, run: Path, tmp_path: Path) -> None:
    """A first model is put in force without a comparison, a second after one; `--rollback` goes back, once."""
    with pytest.raises(UserError, match="no model was promoted"):
        raise promote("--rollback").exception or AssertionError
    first = promote(str(run))
    assert "nothing to compare with" in first.output
    assert bucket.store.require().pointer.current.package.startswith(f"s3://{bucket.name}/serving/packages/")
    again = promote(str(run))
    assert isinstance(again.exception, UserError)
    second = bucket.upload("two")
    lines = [
        json.dumps({"id": f"r{n}", "width": 400, "height": 600, "words": [
            {"text": "SHOP", "box": [10, 10, 90, 30], "line": 0, "label": "MERCHANT_NAME"},
            {"text": f"{n}/12/2018", "box": [10, 50, 90, 70], "line": 1, "label": "DATE"}]})
        for n in range(10, 22)
    ]  # fmt: skip
    (tmp_path / "on.jsonl").write_text("\n".join(lines[:5]))
    few = promote(second.package, "--on", str(tmp_path / "on.jsonl"))
    assert isinstance(few.exception, WorldError)
    assert "5 receipts say too little" in str(few.exception)
    assert bucket.store.require().pointer.current.job_name == "job"
    (tmp_path / "on.jsonl").write_text("\n".join(lines))
    done = promote(second.package, "--on", str(tmp_path / "on.jsonl"))
    assert done.exception is None
    assert "compared on 12 labelled receipts" in done.output
    assert bucket.store.require().pointer.current.job_name == "two"
    assert promote("--rollback").exception is None
    assert bucket.store.require().pointer.current.job_name == "job"
    assert "before job/" in str(promote("--rollback").exception)


def test_a_job(bucket: Bucket, jobs_table: str) -> None:
    """A job that has succeeded is promoted by its name, one that has not is refused; `read --stack` then takes it."""
    put_job(
        jobs_table, "1", name="one", status="SUCCEEDED", created_at=CREATED, artifacts=f"s3://{bucket.name}/runs/one/1"
    )
    put_job(jobs_table, "2", name="two", status="RUNNING", created_at=CREATED)
    bucket.upload("one")
    assert "two is RUNNING; only a job that has succeeded" in str(promote("two").exception)
    assert promote("one").exception is None
    assert bucket.store.require().pointer.current.package == f"s3://{bucket.name}/runs/one/1/model/serve"
    folder = model_of_stack()
    assert json.loads((Path(folder) / "manifest.json").read_bytes())["job_name"] == "one"


def test_jobs_are_compared_on_what_neither_was_trained_on(bucket: Bucket, jobs_table: str, receipts_table: str) -> None:
    """By the run.json of both in the bucket those of the table's receipts are taken that people have labelled, nobody
    generated and no run has seen; a run that tells nothing leaves none, and then nothing is changed."""
    held = [receipt(number, "MERCHANT_NAME", "DATE", "O", split="test", source="shop") for number in range(12)]
    others = [receipt(20, "DATE", split="train", source="shop"), receipt(21, "DATE", split="test", source="synthetic")]
    import_receipts(receipts_table, [*held, *others], ProblemLog())
    by_stored = {"train_split": "train", "eval_split": "validation"}
    for job_id, name in (("1", "one"), ("2", "two"), ("3", "silent")):
        put_job(
            jobs_table,
            job_id,
            name=name,
            status="SUCCEEDED",
            created_at=CREATED,
            artifacts=f"s3://{bucket.name}/runs/{name}/1",
        )
        bucket.upload(name)
        if name != "silent":
            bucket.put(f"runs/{name}/1/run.json", record(None, **by_stored).model_dump_json().encode())
    assert promote("1").exception is None
    done = promote("2")
    assert done.exception is None
    assert "compared on 12 receipts of split test that neither run was trained on" in done.output
    silent = promote("3")
    assert "what silent/" in silent.output
    assert isinstance(silent.exception, WorldError)
    assert "0 receipts say too little" in str(silent.exception)
    assert bucket.store.require().pointer.current.job_name == "two"


def test_a_model_that_cannot_answer_is_not_promoted(bucket: Bucket) -> None:
    """Its own sample is read before the pointer is written."""
    refused = promote(bucket.upload_wrong("bad").package)
    assert "of its own sample wrongly" in str(refused.exception)
    assert bucket.store.find() is None


def test_of_two_promotions_at_once_none_is_lost(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes second learns of it, and the first one's pointer stays; also where there was none."""
    first, second, third = (bucket.upload(name) for name in ("one", "two", "three"))
    show = module._show

    def meanwhile(*arguments: Any) -> None:
        show(*arguments)
        bucket.point(third)

    bucket.point(first)
    monkeypatch.setattr(module, "_show", meanwhile)
    monkeypatch.setattr(module, "_receipts", lambda on, models: (receipts(12), "receipts"))
    done = promote(second.package, "--yes")
    assert isinstance(done.exception, WorldError)
    assert "somebody else has promoted a model meanwhile" in str(done.exception)
    assert bucket.store.require().pointer.current.job_name == "three"
    with pytest.raises(WorldError, match="somebody else"):
        bucket.store.replace(bucket.store.require().pointer, None)
