"""A wheelhouse is verified when it is loaded, and uploaded under its content hash."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.naming import Naming
from infra.wheelhouse import MANIFEST, Manifest, Wheel, Wheelhouse, WheelhouseArgs, content_hash, load
from receipt_trainer.local.program import Recording, run
from tests.userdata.bake import make_wheel, make_wheelhouse

OBJECT = "aws:s3/bucketObjectv2:BucketObjectv2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small wheelhouse: the trainer's wheel and one more."""
    make_wheelhouse(tmp_path / "wheelhouse")
    return tmp_path / "wheelhouse"


def _rewrite(folder: Path, **changed: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | changed))


def test_changed_wheel_is_named(folder: Path) -> None:
    """A wheel whose bytes changed is refused by its path."""
    wheel = next(folder.glob("pinned*"))
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(ValueError, match=f"{wheel.name}: its sha256 is not the one"):
        load(folder)


def test_missing_wheel_is_named(folder: Path) -> None:
    """A wheel that the manifest lists and the folder lacks is refused by its path."""
    next(folder.glob("pinned*")).unlink()
    with pytest.raises(ValueError, match=r"pinned-1\.0-py3-none-any\.whl: missing"):
        load(folder)


def test_wheel_that_the_manifest_lacks_is_named(folder: Path) -> None:
    """A wheel beside the listed ones is refused: an instance would find it."""
    make_wheel(folder, "strange", {})
    with pytest.raises(ValueError, match=r"strange-1\.0-py3-none-any\.whl: not in manifest\.json"):
        load(folder)


@pytest.mark.parametrize(
    "changed",
    [{"hash": "0" * 64}, {"python": "3.13"}, {"python": "three"}, {"wheels": []}, {"more": 1}],
    ids=["hash", "python", "no-python", "empty", "extra"],
)
def test_manifest_that_contradicts_itself_is_refused(folder: Path, changed: dict[str, Any]) -> None:
    """A hash that does not follow from the rest, a missing part or an unknown one is refused by the manifest's path."""
    _rewrite(folder, **changed)
    with pytest.raises(ValueError, match=f"{MANIFEST}: not a manifest"):
        load(folder)


@pytest.mark.parametrize("name", ["../a-1.0-py3-none-any.whl", "a/b.whl", "/etc/a.whl", "a.zip", ""])
def test_manifest_cannot_point_outside_its_folder(folder: Path, name: str) -> None:
    """A file name with a path in it, or one that is no wheel, is refused before anything is read."""
    wheels = json.loads((folder / MANIFEST).read_text())["wheels"]
    _rewrite(folder, wheels=[{**wheels[0], "file": name}])
    with pytest.raises(ValueError, match="not a manifest"):
        load(folder)


def test_folder_without_a_manifest_is_named(tmp_path: Path) -> None:
    """A folder that is no wheelhouse, as a wrong setting gives it, is refused by its path and not by a traceback."""
    with pytest.raises(pulumi.RunError, match=f"{tmp_path / MANIFEST}: No such file"):
        load(tmp_path)


def test_hash_does_not_depend_on_the_order_of_wheels() -> None:
    """The content hash is over the sorted wheels, and changes with a file's name, its sha256 or the Python version."""
    one = Wheel(file="a.whl", sha256="0" * 64, name="a", version="1")
    two = Wheel(file="b.whl", sha256="1" * 64, name="b", version="1")
    assert Manifest.of("3.12", [two, one]) == Manifest.of("3.12", [one, two])
    swapped = [one.model_copy(update={"sha256": "1" * 64}), two.model_copy(update={"sha256": "0" * 64})]
    different = {content_hash("3.12", [one, two]), content_hash("3.12", swapped), content_hash("3.13", [one, two])}
    assert len(different | {content_hash("3.12", [one])}) == 4


@cache
def recorded(folder: Path) -> Recording:
    def program() -> None:
        house = Wheelhouse("wheelhouse", WheelhouseArgs(Naming("receipt-trainer", "dev"), "wheels-1", folder))
        pulumi.export("prefix", house.prefix)

    return run(program)


def test_every_file_is_uploaded_and_the_manifest_last(folder: Path) -> None:
    """Each wheel and the manifest become an encrypted object under the hash; the manifest waits for all the others."""
    manifest = load(folder)
    objects = {found.inputs["key"]: found for found in recorded(folder).of_type(OBJECT)}
    prefix = f"wheelhouse/{manifest.hash}"
    assert recorded(folder).outputs["prefix"] == prefix
    assert objects.keys() == {f"{prefix}/{file}" for file in [MANIFEST, *(wheel.file for wheel in manifest.wheels)]}
    last = objects.pop(f"{prefix}/{MANIFEST}")
    assert set(last.dependencies) >= {found.urn for found in objects.values()}
    assert all(found.inputs["serverSideEncryption"] == "AES256" for found in [last, *objects.values()])
    hashes = {found.inputs["key"].rpartition("/")[2]: found.inputs["sourceHash"] for found in objects.values()}
    assert hashes == {wheel.file: wheel.sha256 for wheel in manifest.wheels}


def test_objects_of_a_launch_template_in_use_are_kept(folder: Path) -> None:
    """No object is deleted with its resource: an instance that boots during an update still finds its wheels."""
    objects = recorded(folder).of_type(OBJECT)
    assert objects
    assert all(found.retain_on_delete for found in objects)
