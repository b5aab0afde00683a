"""Data sets of drawn documents: the same bytes by whatever way, and files of others left alone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from receipt_trainer.data.document_set import read_examples
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.data.synthetic.corpus import read_corpus
from receipt_trainer.data.synthetic.dataset import Plan, generate_dataset
from receipt_trainer.data.synthetic.layout import lay_out_example
from receipt_trainer.data.synthetic.render import fonts_by_language
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


OWN = """
[[vendors]]
country = "de_DE"
name = "Feinkost Übermann GmbH"
address = ["Lange Str. 5", "12345 Musterstadt"]
tax_id = "DE123456789"
products = [{ name = "Müsli-Riegel Nuss", price = 1.19 }, { name = "Espressobohnen 1 kg" }]
"""


def test_own_vendors_write_half_of_the_documents(tmp_path: Path) -> None:
    """Under their name and address and with their goods at their prices; the others are invented as before."""
    corpus = tmp_path / "own.toml"
    corpus.write_text(OWN, encoding="utf-8")
    fonts = fonts_by_language(("de",))
    vendors = read_corpus(corpus, fonts)
    drawn = [lay_out_example(0, index, ("thermal", "classic"), fonts, vendors) for index in range(60)]
    own = [one.truth for one in drawn if "ÜBERMANN" in one.truth["vendor"]["name"].upper()]
    assert 8 <= len(own) <= 30  # half of Germany's, which is half of the language's
    for truth in own:
        assert truth["vendor"]["address"].title() == "Lange Str. 5, 12345 Musterstadt"
        assert truth["vendor"]["tax_id"] == "DE123456789"
        for item in truth["line_items"]:
            if item["total"] > 0:
                assert item["description"].title() in ("Müsli-Riegel Nuss", "Espressobohnen 1 Kg")
            if item["unit_price"] and item["description"].startswith("M"):
                assert item["unit_price"] == 1.19
    generate_dataset(tmp_path / "set", 4, replace(PLAN, languages=("de",), vendors=vendors))
    with pytest.raises(UserError, match="other settings"):
        generate_dataset(tmp_path / "set", 4, replace(PLAN, languages=("de",)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("de_DE", "xx_XX"), "no country xx_XX"),
        (("de_DE", "fr_FR"), "fr is not drawn"),
        (("Übermann", "山田"), "the fonts have no"),
        (("name =", "nom ="), "nom"),
        (("1.19", "-1"), "price"),
        (("[[vendors]]", "[[vendors"), "not TOML"),
        (("Lange Str. 5", "Lange\\nStr. 5"), "address"),
    ],
)
def test_a_wrong_corpus_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    """Countries, languages, letters, keys and values that cannot be drawn: one line that says where and what."""
    corpus = tmp_path / "own.toml"
    corpus.write_text(OWN.replace(*change), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_corpus(corpus, fonts_by_language(("de",)))


def test_a_corpus_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As any file that a user names."""
    with pytest.raises(UserError, match=r"own\.toml: cannot be read: No such file"):
        read_corpus(tmp_path / "own.toml", {})
