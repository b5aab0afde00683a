"""A wheelhouse is verified when it is loaded, and uploaded as a few objects under the hashes of their contents."""

from __future__ import annotations

import json
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.context import AwsContext
from infra.wheelhouse.manifest import MANIFEST, Manifest, Stored, Wheel, content_hash, file_sha256, load
from infra.wheelhouse.objects import Wheelhouse, WheelhouseArgs
from receipt_trainer.local.pulumi_program import Recording, run
from receipt_trainer.local.resources import stand_in
from tests.infra.edits import compare, evaluate
from tests.userdata.bake import PYTHON, make_wheel, make_wheelhouse

OBJECT = "aws:s3/bucketObjectv2:BucketObjectv2"
CONTEXT = AwsContext("receipt-trainer", "dev", "aws", "us-east-1", "123456789012", ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small wheelhouse: the trainer's wheel and an archive of one more."""
    make_wheelhouse(tmp_path / "wheelhouse")
    return tmp_path / "wheelhouse"


def _rewrite(folder: Path, **changed: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | changed))


@pytest.mark.parametrize("pattern", ["*.tar", "receipt_trainer-*.whl"])
def test_changed_object_is_named(folder: Path, pattern: str) -> None:
    """An archive or a wheel whose bytes changed is refused by its path."""
    found = next(folder.glob(pattern))
    found.write_bytes(found.read_bytes() + b"x")
    with pytest.raises(ValueError, match=f"{found.name}: its sha256 is not the one"):
        load(folder)


@pytest.mark.parametrize("pattern", ["*.tar", "receipt_trainer-*.whl"])
def test_missing_object_is_named(folder: Path, pattern: str) -> None:
    """What the manifest lists and the folder lacks is refused by its path."""
    found = next(folder.glob(pattern))
    found.unlink()
    with pytest.raises(ValueError, match=f"{found.name}: missing"):
        load(folder)


def test_wheel_that_the_manifest_lacks_is_named(folder: Path, tmp_path: Path) -> None:
    """An archive with a wheel beside the listed ones is refused, as an instance would refuse it."""
    manifest = load(folder)
    (archive,) = folder.glob("*.tar")
    with tarfile.open(archive, "a") as tar:
        tar.add(make_wheel(tmp_path, "strange", {}), "strange-1.0-py3-none-any.whl")
    sha256 = file_sha256(archive)
    archive.rename(folder / f"{sha256}.tar")
    size = (folder / f"{sha256}.tar").stat().st_size
    changed = Stored(key=f"archives/{sha256}.tar", sha256=sha256, size=size, pythons=manifest.pythons)
    objects = [changed, *(stored for stored in manifest.objects if not stored.is_archive)]
    (folder / MANIFEST).write_text(Manifest.of(manifest.pythons, objects, manifest.wheels).text())
    with pytest.raises(ValueError, match=r"strange-1\.0-py3-none-any\.whl is not both in manifest\.json and in"):
        load(folder)


@pytest.mark.parametrize(
    "changed",
    [{"hash": "0" * 64}, {"pythons": ["2.7"]}, {"pythons": []}, {"wheels": []}, {"objects": []}, {"more": 1}],
    ids=lambda changed: "-".join(changed),
)
def test_manifest_that_contradicts_itself_is_refused(folder: Path, changed: dict[str, Any]) -> None:
    """A hash that does not follow from the rest, a missing part or an unknown one is refused by the manifest's path."""
    _rewrite(folder, **changed)
    with pytest.raises(ValueError, match=f"{MANIFEST}: not a manifest"):
        load(folder)


@pytest.mark.parametrize("name", ["../a-1.0-py3-none-any.whl", "a/b.whl", "/etc/a.whl", "a.zip", ""])
def test_manifest_cannot_point_outside_its_folder(folder: Path, name: str) -> None:
    """A file name with a path in it, or one that is no wheel, is refused before anything is read."""
    manifest = json.loads((folder / MANIFEST).read_text())
    _rewrite(folder, wheels=[{**manifest["wheels"][0], "file": name}])
    with pytest.raises(ValueError, match="not a manifest"):
        load(folder)
    _rewrite(folder, objects=[{**manifest["objects"][0], "key": f"trainer/{'0' * 64}/{name}"}])
    with pytest.raises(ValueError, match="not a manifest"):
        load(folder)


def test_folder_without_a_manifest_is_named(tmp_path: Path) -> None:
    """A folder that is no wheelhouse, as a wrong setting gives it, is refused by its path and not by a traceback."""
    with pytest.raises(pulumi.RunError, match=f"{tmp_path / MANIFEST}: No such file"):
        load(tmp_path)


def test_hash_does_not_depend_on_the_order_of_wheels() -> None:
    """The content hash is over the sorted wheels, and changes with a file's name, its sha256 or the Pythons."""
    one = Wheel(file="a.whl", sha256="0" * 64, pythons=("3.12",), name="a", version="1")
    two = Wheel(file="b.whl", sha256="1" * 64, pythons=("3.12",), name="b", version="1")
    stored = [Stored(key=f"archives/{'2' * 64}.tar", sha256="2" * 64, size=1, pythons=("3.12",))]
    assert Manifest.of(["3.12"], stored, [two, one]) == Manifest.of(["3.12"], stored, [one, two])
    swapped = [one.model_copy(update={"sha256": "1" * 64}), two.model_copy(update={"sha256": "0" * 64})]
    hashes = {
        content_hash(pythons, stored, wheels)
        for pythons, wheels in ((["3.12"], [one, two]), (["3.12"], swapped), (["3.13"], [one, two]), (["3.12"], [one]))
    }
    assert len(hashes) == 4


@cache
def recorded(folder: Path) -> Recording:
    def program() -> None:
        house = Wheelhouse("wheelhouse", WheelhouseArgs(CONTEXT, "wheels-1", folder))
        pulumi.export("prefix", house.prefix)

    return run(program)


def objects(folder: Path) -> dict[str, Any]:
    return {found.inputs["key"]: found for found in recorded(folder).of_type(OBJECT)}


def test_a_wheelhouse_of_two_pythons_is_five_objects_the_manifest_last(tmp_path: Path) -> None:
    """An archive for both, one for each, the trainer: encrypted, by their contents; the manifest waits for them all."""
    stand_in(tmp_path, ["3.12", "3.13"])
    manifest = load(tmp_path)
    found = objects(tmp_path)
    prefix = f"wheelhouse/{manifest.hash}"
    assert recorded(tmp_path).outputs["prefix"] == prefix
    assert len(found) == 5
    assert found.keys() == {f"{prefix}/{MANIFEST}", *(f"wheelhouse/{stored.key}" for stored in manifest.objects)}
    assert sorted(stored.pythons for stored in manifest.objects if stored.is_archive) == [
        ("3.12",),
        ("3.12", "3.13"),
        ("3.13",),
    ]
    last = found.pop(f"{prefix}/{MANIFEST}")
    assert set(last.dependencies) >= {each.urn for each in found.values()}
    assert all(each.inputs["serverSideEncryption"] == "AES256" for each in [last, *found.values()])
    assert all(each.inputs["sourceHash"] in each.inputs["key"] for each in found.values())


def test_objects_of_a_launch_template_in_use_are_kept(folder: Path) -> None:
    """No object is deleted with its resource: an instance that boots during an update still finds its wheels."""
    assert objects(folder)
    assert all(found.retain_on_delete for found in objects(folder).values())


def test_the_parameter_says_what_a_bake_needs_once_it_is_all_there(folder: Path) -> None:
    """Bucket, prefix and hash as JSON; written after the manifest."""
    (parameter,) = recorded(folder).of_type("aws:ssm/parameter:Parameter")
    manifest = load(folder)
    assert parameter.inputs["name"] == "/receipt-trainer/dev/wheelhouse"
    wanted = {"bucket": "wheels-1", "prefix": f"wheelhouse/{manifest.hash}", "hash": manifest.hash}
    assert json.loads(parameter.inputs["value"]) == wanted
    assert objects(folder)[f"wheelhouse/{manifest.hash}/{MANIFEST}"].urn in parameter.dependencies


def test_a_new_trainer_is_one_wheel_and_a_manifest(tmp_path: Path) -> None:
    """After an edit of the trainer no archive differs, no component and no recipe of the image; templates do."""
    recordings = []
    for build in ("first", "second"):
        folder = tmp_path / build
        make_wheelhouse(folder, build)
        changes = {"wheelhouse": {"path": str(folder), "python_versions": [PYTHON]}, "golden_ami": {"enabled": True}}
        recordings.append(evaluate(folder, changes))
    found = compare(*recordings)
    assert recordings[0].of_type("aws:imagebuilder/component:Component")
    assert not found.added
    assert not found.removed
    # A file asset is compared by its content, which `sourceHash` stands for.
    changed = {name for name, keys in found.changed.items() if keys != {"source"}}
    assert found.changed["BucketObjectv2/wheelhouse-archive"] == {"source"}
    templates = {f"LaunchTemplate/{pool}-template" for pool in ("gpu", "cpu")}
    groups = {f"Group/{pool}-group" for pool in ("gpu", "cpu")}
    uploaded = {f"BucketObjectv2/wheelhouse-{part}" for part in ("receipt-trainer", "manifest")}
    assert changed == uploaded | templates | groups | {"Parameter/wheelhouse-parameter"}
