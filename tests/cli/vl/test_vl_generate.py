"""`receipt-trainer vl generate`."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from receipt_trainer.cli.receipt_trainer import group
from receipt_trainer.errors import UserError

SIDES = ("train.jsonl", "val.jsonl")


def generate(folder: Path, *words: str) -> Result:
    start = ["vl", "generate", "--output-dir", str(folder), "--workers", "1", "--format", "jsonl"]
    return CliRunner().invoke(group, [*start, *words], catch_exceptions=False)


def test_a_set_that_validates(tmp_path: Path) -> None:
    """All templates and languages; what is written has no problem, and what was left out is named."""
    done = generate(tmp_path, "--count", "12", "--template-set", "all", "--seed", "5", "--font-dir", str(tmp_path))
    assert done.exit_code == 0
    assert "12 documents in" in done.stdout
    assert "12 drawn now" in done.stdout
    assert done.stderr == "left out, no font has their letters: ja, zh\n"
    for name in SIDES:
        checked = CliRunner().invoke(group, ["vl", "validate-dataset", "--input", str(tmp_path / name)])
        assert checked.exit_code == 0, checked.stdout


def test_started_again(tmp_path: Path) -> None:
    """The same command draws nothing anew."""
    words = (
        "--count",
        "3",
        "--template-set",
        "bistro,thermal",
        "--languages",
        "de",
        "--split",
        "1",
        "--level",
        "photo",
    )
    generate(tmp_path, *words)
    lines = (tmp_path / "train.jsonl").read_bytes()
    done = generate(tmp_path, *words)
    assert "0 drawn now" in done.stdout
    assert "languages: de 3" in done.stdout
    assert (tmp_path / "train.jsonl").read_bytes() == lines
    assert not (tmp_path / "val.jsonl").exists()


@pytest.mark.parametrize(("count", "split", "lines"), [(3, "0.99", (2, 1)), (2, "0.01", (1, 1)), (1, "0.01", (1, 0))])
def test_both_sides_of_a_few(tmp_path: Path, count: int, split: str, lines: tuple[int, int]) -> None:
    """Where chance gave one side all, the last document goes to the other; a side without any has no file."""
    done = generate(tmp_path, "--count", str(count), "--template-set", "thermal", "--languages", "de", "--split", split)
    assert done.exit_code == 0
    written = [path.read_text().count("\n") if path.exists() else 0 for path in map(tmp_path.joinpath, SIDES)]
    assert tuple(written) == lines
    assert (tmp_path / "val.jsonl").exists() == bool(lines[1])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--template-set", "baroque"], "no template baroque; there are all, thermal"),
        (["--languages", "xx"], "no language xx"),
        (["--boxes", "--level", "photo"], "--boxes: words are where they were printed only with --level clean"),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], reason: str) -> None:
    """One line that says what there is; nothing is written."""
    with pytest.raises(UserError, match=reason):
        generate(tmp_path / "new", *words)
    assert not (tmp_path / "new").exists()
