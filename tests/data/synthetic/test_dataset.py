"""Data sets of drawn documents: the same bytes by whatever way, and files of others left alone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from receipt_trainer.data.document_set import read_examples
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.data.synthetic.dataset import Plan, generate_dataset
from receipt_trainer.errors import UserError
from tests.data.synthetic.drawn import ALL, many
from tests.waiting import wait_for


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


PLAN = Plan(3, ("bistro", "thermal"), ("en", "de"), "mixed", 0.7)


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    """One process or two: every file is the same, and the lists read back as examples whose images are there."""
    for workers in (1, 2):
        summary = generate_dataset(tmp_path / str(workers), 24, PLAN, workers=workers)
        assert (summary.count, summary.drawn) == (24, 24)
    assert files(tmp_path / "1") == files(tmp_path / "2")
    examples = [example for name in ("train", "val") for example in read_examples(tmp_path / "1" / f"{name}.jsonl")]
    assert len({example.id for example in examples}) == 24
    assert {example.image.suffix for example in examples} == {".png", ".jpg"}
    assert all(example.image.is_file() for example in examples)


def test_a_larger_set_begins_with_the_smaller(tmp_path: Path) -> None:
    """More of the same plan in the same folder keeps what is there and adds to it."""
    generate_dataset(tmp_path, 4, PLAN)
    before = files(tmp_path)
    summary = generate_dataset(tmp_path, 6, PLAN)
    assert (summary.count, summary.drawn) == (6, 2)
    images = {name: digest for name, digest in before.items() if name.startswith("images")}
    assert images.items() <= files(tmp_path).items()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Other settings, or files of the user's, are refused and nothing is touched."""
    generate_dataset(tmp_path / "a", 2, PLAN)
    before = files(tmp_path / "a")
    with pytest.raises(UserError, match="other settings"):
        generate_dataset(tmp_path / "a", 2, Plan(4, ALL, ("en",)))
    assert files(tmp_path / "a") == before
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"):
        generate_dataset(tmp_path / "b", 2, PLAN)
    assert list((tmp_path / "b").iterdir()) == [tmp_path / "b" / "mine.txt"]


def test_a_killed_run_resumes(tmp_path: Path) -> None:
    """While images are drawn there is no list; after a SIGKILL the same command gives what an undisturbed one gives."""
    code = (
        "from pathlib import Path\nfrom tests.data.synthetic.test_dataset import PLAN\n"
        "from receipt_trainer.data.synthetic.dataset import generate_dataset\n"
        f"generate_dataset(Path({str(tmp_path / 'killed')!r}), 3000, PLAN)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3], env=dict(os.environ))
    images = tmp_path / "killed" / "images"
    wait_for(lambda: process.poll() is not None or len(list(images.glob("0*"))) >= 5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "train.jsonl").exists()
    there = len(list(images.glob("0*")))
    assert 5 <= there < 3000
    summary = generate_dataset(tmp_path / "killed", there, PLAN)
    assert summary.drawn == 0
    generate_dataset(tmp_path / "whole", there, PLAN)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_boxes_are_receipts_of_the_first_family(tmp_path: Path) -> None:
    """Every word comes back with its box and label, with no complaint, and its ink is inside the box."""
    plan = Plan(0, ("classic", "bistro"), ("en",), boxes=True, split=1)
    generate_dataset(tmp_path, 4, plan)
    problems = ProblemLog()
    receipts = list(read_jsonl(tmp_path / "receipts.jsonl", problems))
    examples = read_examples(tmp_path / "train.jsonl")
    assert not problems.counts
    assert [receipt.name for receipt in receipts] == [example.id for example in examples]
    for receipt, example in zip(receipts, examples, strict=True):
        merchant = " ".join(word.text for word in receipt.words if word.valid_label() == "MERCHANT_NAME")
        assert merchant == json.loads(example.output)["vendor"]["name"]
        with Image.open(example.image) as image:
            assert image.size == (receipt.width, receipt.height)
    texts = [text for one in many()[:30] for text in one.page.texts]
    for text in texts:
        boxes = [box for _, box in text.words()]
        assert boxes == sorted(boxes)
        assert boxes[-1][2] <= text.box[2] + 2
