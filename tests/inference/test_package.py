"""Packages on disk: whole ones are opened, damaged ones refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.errors import UserError
from receipt_trainer.inference.package import describe, find_package, open_package
from receipt_trainer.inference.reader import PackageReader


@pytest.fixture
def package(run: Path, tmp_path: Path) -> Path:
    """A copy of the package, to be damaged."""
    return Path(shutil.copytree(run / "model" / "serve", tmp_path / "package"))


def test_a_package_is_found_from_its_run(run: Path) -> None:
    """The run's folder, its model/ or the package itself: one package."""
    for place in (run, run / "model", run / "model" / "serve"):
        assert find_package(place) == run / "model" / "serve"


def test_its_sample_is_read_as_it_must_be(run: Path) -> None:
    """The generated receipt of a package gets its expected labels in the precision that the manifest names."""
    reader = PackageReader.open(run)
    assert reader.manifest.precision == "int8"
    reader.verify()


def test_a_wrong_sample_is_noticed(package: Path) -> None:
    """A model that reads its own sample otherwise than at export is refused."""
    sample = json.loads((package / "sample.json").read_bytes())
    sample["labels"] = ["DATE" if label != "DATE" else "O" for label in sample["labels"]]
    (package / "sample.json").write_text(json.dumps(sample))
    manifest = json.loads((package / "manifest.json").read_bytes())
    manifest["files"]["sample.json"] = describe(package / "sample.json").model_dump()
    (package / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"reads \d+ of the \d+ words of its own sample wrongly"):
        PackageReader.open(package).verify()


def edit(**values: Any) -> Callable[[Path], object]:
    def damage(package: Path) -> None:
        path = package / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | values))

    return damage


def flip(name: str) -> Callable[[Path], object]:
    def damage(package: Path) -> None:
        content = bytearray((package / name).read_bytes())
        content[len(content) // 2] ^= 1
        (package / name).write_bytes(content)

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit of the model": (flip("model.int8.onnx"), r"model.int8.onnx: damaged"),
    "a bit of the tokenizer": (flip("tokenizer.json"), r"tokenizer.json: damaged"),
    "a cut model": (lambda at: (at / "model.int8.onnx").write_bytes(b"x"), r"1 bytes instead of \d+"),
    "no model": (lambda at: (at / "model.int8.onnx").unlink(), r"model.int8.onnx: missing"),
    "a newer format": (edit(format=2, trainer_version="9.0"), r"format 2 of a newer version \(9.0\).*upgrade"),
    "a format that is none": (edit(format="one"), r"not the manifest of a package"),
    "no manifest's text": (lambda at: (at / "manifest.json").write_text("{"), r"not the manifest of a package"),
    "a list": (lambda at: (at / "manifest.json").write_text("[]"), r"not the manifest of a package"),
    "files elsewhere": (edit(files={"../run.json": {"sha256": "0" * 64, "size": 1}}), r"does not list"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_package_is_refused(package: Path, damage: Callable[[Path], object], words: str) -> None:
    """Whatever is missing, flipped or newer: one line that says what, where and what to do."""
    damage(package)
    with pytest.raises(UserError, match=words) as refused:
        PackageReader.open(package)
    assert str(package) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_where_there_is_no_package(run: Path, tmp_path: Path) -> None:
    """A trained run without one is told how to make it; any other folder that it is none."""
    shutil.copytree(run, tmp_path / "old", ignore=shutil.ignore_patterns("serve"))
    with pytest.raises(UserError, match=f"make it of the trained model: layoutlm-cli export {tmp_path / 'old'}"):
        open_package(tmp_path / "old")
    with pytest.raises(UserError, match="no model package there; give a run's folder"):
        open_package(tmp_path)
