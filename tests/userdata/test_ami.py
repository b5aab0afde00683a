"""The bake of the Golden AMI, run for real from its component document in a scratch root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.userdata.bake import BUCKET, PYTHON, USERDATA, Machine, make_wheel, make_wheelhouse, stand_ins, upload


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A parent image: Python with pip and torch in /opt/pytorch, a system Python, nothing else."""
    folder = tmp_path_factory.mktemp("parent")
    root = folder / "root"
    python = root / "opt/pytorch/bin/python"
    venv.create(python.parents[1], with_pip=True, symlinks=True)
    torch = make_wheel(folder, "torch", {"torch.py": "__version__ = '1.0'\n"})
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", torch], check=True)
    system = root / "usr/bin/python3"
    system.parent.mkdir(parents=True)
    system.symlink_to(Path(sys.executable).resolve())
    stand_ins(folder / "standins")
    manifest = make_wheelhouse(folder / "wheelhouse")
    upload(folder / "wheelhouse", manifest, folder / "buckets")
    return Machine(root, folder / "buckets", folder / "standins", manifest.hash)


def copied(machine: Machine, folder: Path) -> Machine:
    parts = [machine.root, machine.buckets, machine.standins]
    subprocess.run(["/bin/cp", "-a", *parts, folder], check=True)
    return Machine(folder / "root", folder / "buckets", folder / "standins", machine.wheelhouse)


@pytest.fixture(scope="module")
def image(parent: Machine, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine after a build that went well."""
    machine = copied(parent, tmp_path_factory.mktemp("image"))
    done = machine.run("build")
    assert done.returncode == 0, done.stdout
    return machine


@pytest.fixture
def machine(parent: Machine, tmp_path: Path) -> Machine:
    """A fresh parent image."""
    return copied(parent, tmp_path)


def test_bake_makes_a_workers_image(image: Machine) -> None:
    """Build, validate and test pass on the parent image, mark it, and ask neither a package index nor conda's aws."""
    for phase in ("validate", "test"):
        done = image.run(phase)
        assert done.returncode == 0, done.stdout
    assert json.loads(image.marker.read_text()) == {"wheelhouse": image.wheelhouse, "python": PYTHON}
    asked = (image.standins / "dnf.log").read_text().split()
    assert {"amazon-efs-utils", "amazon-cloudwatch-agent", "awscli-2", "logrotate"} <= set(asked)
    assert not (image.standins / "conda-aws.log").exists()
    entries = [image.root / "opt/wheels", *(image.root / "opt/wheels").iterdir(), image.root / "opt/hf_cache"]
    assert len(entries) == 5
    assert {entry.stat().st_uid for entry in entries} == {os.getuid() or 1000}


def test_model_cache_comes_from_the_bucket(machine: Machine) -> None:
    """What lies under hf_cache/ in the wheels bucket is in the image's model cache."""
    model = machine.buckets / BUCKET / "hf_cache/hub/model/config.json"
    model.parent.mkdir(parents=True)
    model.write_text("{}")
    assert machine.run("build").returncode == 0
    assert (machine.root / "opt/hf_cache/hub/model/config.json").read_text() == "{}"


def test_build_without_the_system_cli_fails(machine: Machine) -> None:
    """Where the system has no AWS CLI, the one that is first on PATH is not taken: the build fails unmarked."""
    done = machine.run("build", DNF_LACKS="awscli-2")
    assert done.returncode != 0
    assert "/usr/bin/aws" in done.stdout
    assert not (machine.standins / "conda-aws.log").exists()
    assert not machine.marker.exists()


def test_broken_archive_stops_the_build(machine: Machine) -> None:
    """An archive with other bytes than the manifest says is named, nothing is installed, the image is not marked."""
    archive = next(machine.wheels.glob("archives/*.tar"))
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    done = machine.run("build")
    assert done.returncode != 0
    assert archive.name in done.stdout
    assert not machine.marker.exists()
    assert not (machine.root / "opt/pytorch/bin/receipt-trainer").exists()


def test_a_bake_takes_the_wheels_that_are_current_when_it_runs(image: Machine, tmp_path: Path) -> None:
    """The same document, run after a new trainer was uploaded, makes an image of that one."""
    machine = copied(image, tmp_path)
    newer = json.loads(next(machine.wheels.glob("*/manifest.json")).read_text()) | {"hash": "f" * 64}
    (machine.wheels / ("f" * 64)).mkdir()
    (machine.wheels / ("f" * 64) / "manifest.json").write_text(json.dumps(newer))
    value = {"bucket": BUCKET, "prefix": f"wheelhouse/{'f' * 64}", "hash": "f" * 64}
    (machine.buckets / "parameter.json").write_text(json.dumps(value))
    for phase in ("build", "validate"):
        done = machine.run(phase)
        assert done.returncode == 0, done.stdout
    assert json.loads(machine.marker.read_text())["wheelhouse"] == "f" * 64


def test_failed_bake_on_a_baked_parent_leaves_no_marker(image: Machine, tmp_path: Path) -> None:
    """On a parent that is itself a worker's image, a bake that fails takes the old marker away."""
    machine = copied(image, tmp_path)
    shutil.rmtree(machine.wheels)
    assert machine.marker.exists()
    assert machine.run("build").returncode != 0
    assert not machine.marker.exists()


def test_an_inconsistent_image_still_installs(machine: Machine, tmp_path: Path) -> None:
    """An image whose torch asks for an older setuptools than it has gets the trainer, where pip would refuse."""
    setuptools = make_wheel(tmp_path, "setuptools", {"setuptools/__init__.py": ""})
    torch = make_wheel(tmp_path, "torch", {"torch.py": "__version__ = '1.0'\n"}, "Requires-Dist: setuptools<1.0\n")
    pip = [str(machine.root / "opt/pytorch/bin/python"), "-m", "pip"]
    arguments = ["install", "-q", "--no-index", "--no-deps", "--force-reinstall", str(setuptools), str(torch)]
    subprocess.run([*pip, *arguments], check=True)
    assert subprocess.run([*pip, "check"], check=False, stdout=subprocess.DEVNULL).returncode != 0
    for phase in ("build", "validate", "test"):
        done = machine.run(phase)
        assert done.returncode == 0, done.stdout


def _remove(path: str) -> Callable[[Machine], None]:
    def damage(machine: Machine) -> None:
        target = machine.root / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return damage


def _forget_torch(machine: Machine) -> None:
    (found,) = (machine.root / "opt/pytorch/lib").glob("python*/site-packages/torch.py")
    found.unlink()


def _read_only_wheel(machine: Machine) -> None:
    next((machine.root / "opt/wheels").glob("*.whl")).chmod(0o444)


def _other_wheel(machine: Machine) -> None:
    with next((machine.root / "opt/wheels").glob("*.whl")).open("ab") as wheel:
        wheel.write(b"x")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_remove("usr/bin/aws"), "system AWS CLI"),
        (_remove("sbin/mount.efs"), "EFS mount helper"),
        (_remove("opt/aws"), "CloudWatch agent"),
        (_remove("usr/sbin/logrotate"), "logrotate"),
        (_forget_torch, "torch"),
        (_remove("opt/pytorch/bin/layoutlm-cli"), "layoutlm-cli"),
        (_remove("opt/pytorch/bin/receipt-trainer"), "receipt-trainer"),
        (_read_only_wheel, "wheels belong to ec2-user"),
        (_other_wheel, "wheels are those of the manifest"),
        (_remove("opt/hf_cache"), "model cache"),
        (_remove("opt/receipt-trainer/image.json"), "marker"),
    ],
)
def test_validate_names_what_is_missing(
    image: Machine, tmp_path: Path, damage: Callable[[Machine], None], named: str
) -> None:
    """Each thing that a worker needs, taken away, fails the validation at the check that names it."""
    machine = copied(image, tmp_path)
    damage(machine)
    done = machine.run("validate")
    assert done.returncode == 1
    checks = [line for line in done.stdout.splitlines() if line.startswith("ami_verify: ")]
    assert checks[-1].startswith("ami_verify: failed:")
    assert named in checks[-2]


def test_validate_refuses_anothers_wheels(image: Machine) -> None:
    """Wheels that belong to someone else than ec2-user fail the validation."""
    done = image.run("validate", EC2_USER_UID="4242")
    assert done.returncode == 1
    assert "failed: is_owned" in done.stdout


def test_missing_dependency_fails_the_test_phase(image: Machine, tmp_path: Path) -> None:
    """A dependency that is not installed is seen on the instance of the finished image."""
    machine = copied(image, tmp_path)
    for found in (machine.root / "opt/pytorch/lib").glob("python*/site-packages/pinned*"):
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    done = machine.run("test")
    assert done.returncode != 0
    assert "pinned" in done.stdout


def test_scripts_pass_shellcheck() -> None:
    """shellcheck finds nothing in the scripts of the bake."""
    tool = Path(sys.executable).with_name("shellcheck")
    scripts = sorted(USERDATA.glob("ami_*.sh"))
    assert len(scripts) == 4
    done = subprocess.run([tool, "-x", *scripts], cwd=USERDATA.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
