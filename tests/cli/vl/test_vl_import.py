"""`receipt-trainer vl import`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from receipt_trainer.cli.receipt_trainer import group
from receipt_trainer.data.document_set import read_examples
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.load import read_files
from receipt_trainer.errors import UserError
from tests.data.sources import samples


@pytest.fixture
def receipts(tmp_path: Path) -> Path:
    """Four receipts of two merchants; three have an image, one of them under a name that leaves the folder."""
    (tmp_path / "photos").mkdir()
    lines = []
    for name, merchant in (("a", "Shop"), ("b", "SHOP"), ("c", "Café"), ("../a", "Shop")):
        words = [(merchant, "MERCHANT_NAME"), ("31/12/2020", "DATE"), ("7.50", "GRAND_TOTAL"), ("thanks", "O")]
        record = {
            "id": name,
            "width": 100,
            "height": 100,
            "words": [
                {"text": text, "box": [1, 10 * row + 1, 90, 10 * row + 9], "line": row, "label": label}
                for row, (text, label) in enumerate(words)
            ],
        }
        lines.append(json.dumps(record) + "\n")
    for name in ("a.jpg", "b.png", "c.jpeg"):
        Image.linear_gradient("L").resize((100, 100)).convert("RGB").save(tmp_path / "photos" / name)
    (tmp_path / "receipts.jsonl").write_text("".join(lines))
    return tmp_path / "receipts.jsonl"


def run(receipts: Path, *words: str, images: str = "photos") -> Result:
    folder = receipts.parent
    start = ["vl", "import", str(receipts), "--images", str(folder / images), "--output-dir", str(folder / "out")]
    return CliRunner().invoke(group, [*start, *words], catch_exceptions=False)


def test_receipts_become_examples(receipts: Path) -> None:
    """Images lie in the data set, answers say what the labels say, and what was left out and never given is told."""
    done = run(receipts, "--currency", "EUR", "--split", "1")
    assert done.exit_code == 0
    assert "3 receipts in train.jsonl, 0 in val.jsonl" in done.stdout
    assert "left out: 1 receipts without an image" in done.stdout
    assert "grand_total 3/3" in done.stdout
    assert "null in all, which a model trained on them learns: vendor.address" in done.stderr
    examples = read_examples(receipts.parent / "out" / "train.jsonl")
    assert [example.image.name for example in examples] == ["a.jpg", "b.png", "c.jpeg"]
    answers = [json.loads(example.output) for example in examples]
    assert [(answer["vendor"]["name"], answer["date"], answer["grand_total"]) for answer in answers] == [
        *(("Shop", "2020-12-31", 7.5), ("SHOP", "2020-12-31", 7.5), ("Café", "2020-12-31", 7.5))
    ]
    checked = ["vl", "validate-dataset", "--input", str(receipts.parent / "out" / "train.jsonl")]
    assert CliRunner().invoke(group, checked).exit_code == 0


@pytest.mark.parametrize("split", ["0", "0.3", "0.5", "0.9"])
def test_a_merchant_is_on_one_side(receipts: Path, split: str) -> None:
    """Receipts of one shop, in whatever letters, stay together."""
    run(receipts, "--split", split)
    sides = []
    for name in ("train.jsonl", "val.jsonl"):
        path = receipts.parent / "out" / name
        sides.append({example.id for example in read_examples(path)} if path.exists() else set())
    assert sides[0] | sides[1] == {"a", "b", "c"}
    assert {"a", "b"} <= sides[0] or {"a", "b"} <= sides[1]
    if split == "0":
        assert not sides[0]


def test_mistakes(receipts: Path) -> None:
    """A currency that is none, a folder that is not there, images of one name, no image at all."""
    with pytest.raises(UserError, match="--currency: 'euro' is not an ISO 4217 code"):
        run(receipts, "--currency", "euro")
    with pytest.raises(UserError, match="none: No such file"):
        run(receipts, images="none")
    (receipts.parent / "photos" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.jpg and a\.png are images of one name"):
        run(receipts)
    (receipts.parent / "empty").mkdir()
    with pytest.raises(UserError, match="no image is called as one of the receipts"):
        run(receipts, images="empty")


def test_files_of_other_programs_become_examples(tmp_path: Path) -> None:
    """A receipt of CORD, named by its file: line and total are in the answer, and the type that was given."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "shop.json").write_text(json.dumps(samples.cord()))
    (read,) = read_files(tmp_path / "shop.json", ProblemLog())
    Image.new("RGB", (60, 90)).save(tmp_path / "photos" / f"{read.name}.png")
    done = run(tmp_path / "shop.json", "--split", "1", "--document-type", "invoice")
    assert done.exit_code == 0, done.output
    (example,) = read_examples(tmp_path / "out" / "train.jsonl")
    answer = json.loads(example.output)
    assert (answer["document_type"], answer["grand_total"]) == ("invoice", 2.5)
    assert [(item["description"], item["total"]) for item in answer["line_items"]] == [("TEA", 2.5)]
