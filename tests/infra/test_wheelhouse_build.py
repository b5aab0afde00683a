"""The wheelhouse as it is built from PyPI, and a package installed from it with no index at all."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from infra import wheelhouse_build
from infra.wheel_closure import Needed, Pins, requirements_of
from infra.wheel_repack import repack
from infra.wheelhouse import MANIFEST, WheelhouseError, load
from infra.wheelhouse_build import build, chosen_folder, inputs_key
from tests.userdata.bake import PYTHON, make_wheel, make_wheelhouse

REPOSITORY = Path(__file__).resolve().parents[2]

on_the_workers_platform = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="installs wheels for Linux x86_64"
)


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheelhouses")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's trainer, as it is now: nobody edits it while the tests run."""
    folder = tmp_path_factory.mktemp("sources")
    unwanted = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(REPOSITORY / "trainer", folder / "trainer", ignore=unwanted)
    return folder


@pytest.fixture(scope="module")
def built(sources: Path, cache_folder: Path) -> Path:
    """The wheelhouse of the base package for this Python, from PyPI."""
    return build(sources, PYTHON, cache_folder, extras=(), report=lambda line: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small wheelhouse: the trainer's wheel and one more."""
    make_wheelhouse(tmp_path / "wheelhouse")
    return tmp_path / "wheelhouse"


@on_the_workers_platform
def test_base_package_installs_from_the_wheelhouse_with_no_index(built: Path, tmp_path: Path) -> None:
    """A fresh environment gets the trainer and its dependencies from the folder alone, and its command line answers."""
    python = tmp_path / "venv/bin/python"
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    environment = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/", "HOME": str(tmp_path)}
    command = [str(python), "-m", "pip", "install", "-q", "--no-index", "--find-links", str(built), "receipt-trainer"]
    subprocess.run(command, env=environment, check=True, timeout=120)
    done = subprocess.run(
        [python.with_name("receipt-trainer"), "--help"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: receipt-trainer")


def test_built_wheelhouse_is_pinned_and_has_no_torch(built: Path) -> None:
    """Every wheel but the trainer's own is of the pinned version, and the manifest says what lies in the folder."""
    manifest = load(built)
    versions = {wheel.name: wheel.version for wheel in manifest.wheels}
    pins = Pins.read(REPOSITORY / "trainer/constraints.txt")
    assert versions.pop("receipt-trainer") == "0.1.0"
    assert versions.items() <= dict(pins.versions).items()
    assert {"boto3", "pydantic", "pydantic-core", "urllib3"} <= versions.keys()
    assert "torch" not in versions
    assert manifest.python == PYTHON


def _alone(sources: Path, folder: Path, mode: int, seconds: int) -> Path:
    """A copy of the trainer's sources that requires nothing, with other modes and times."""
    shutil.copytree(sources / "trainer", folder / "trainer")
    metadata = folder / "trainer/pyproject.toml"
    metadata.write_text(re.sub(r"(?ms)^dependencies = \[.*?^\]$", "dependencies = []", metadata.read_text()))
    for path in (folder / "trainer/src").rglob("*.py"):
        os.utime(path, (seconds, seconds))
        path.chmod(mode)
    return folder


def test_same_sources_give_the_same_bytes_elsewhere(sources: Path, tmp_path: Path) -> None:
    """The trainer's wheel, built in two folders from files with other times and modes, is the same."""
    made = []
    for name, mode, seconds in (("one", 0o600, 1_000_000_000), ("two", 0o755, 1_700_000_000)):
        copy = _alone(sources, tmp_path / name, mode, seconds)
        made.append(build(copy, PYTHON, tmp_path / f"cache-{name}", extras=(), report=lambda line: None))
    assert made[0].name == made[1].name
    assert (made[0] / MANIFEST).read_text() == (made[1] / MANIFEST).read_text()
    assert [wheel.name for wheel in load(made[0]).wheels] == ["receipt-trainer"]


def test_ready_wheelhouse_of_another_python_is_refused(folder: Path) -> None:
    """A folder in the configuration is taken as it is, unless it is for another Python than the image's."""
    assert chosen_folder(REPOSITORY, PYTHON, str(folder)) == folder
    with pytest.raises(WheelhouseError, match=f"is for Python {re.escape(PYTHON)}, wheelhouse.python_version is 3.99"):
        chosen_folder(REPOSITORY, "3.99", str(folder))


def test_built_folder_is_reused(sources: Path, built: Path, cache_folder: Path) -> None:
    """A second build of the same sources answers with the same folder at once and says nothing."""
    lines: list[str] = []
    before = (built / MANIFEST).stat().st_mtime_ns
    assert build(sources, PYTHON, cache_folder, extras=(), report=lines.append) == built
    assert lines == []
    assert (built / MANIFEST).stat().st_mtime_ns == before
    assert [entry.name for entry in cache_folder.iterdir()] == [built.name], "a scratch folder was left"


def _small_sources(folder: Path) -> Path:
    for name, text in {
        "constraints.txt": "click==8.5.1\n",
        "pyproject.toml": "[project]\n",
        "src/receipt_trainer/__init__.py": "",
    }.items():
        path = folder / "trainer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    "file", ["constraints.txt", "pyproject.toml", "src/receipt_trainer/__init__.py", "src/new.txt"]
)
def test_key_changes_with_every_input(tmp_path: Path, file: str) -> None:
    """A line more in sources, metadata or pins, or a new file, asks for another wheelhouse."""
    sources = _small_sources(tmp_path)
    before = inputs_key(sources, "3.12")
    with (sources / "trainer" / file).open("a") as changed:
        changed.write("# more\n")
    assert inputs_key(sources, "3.12") != before


def test_key_ignores_what_python_leaves_behind(tmp_path: Path) -> None:
    """Compiled files and egg-info do not ask for another wheelhouse; another Python or other extras do."""
    sources = _small_sources(tmp_path)
    before = inputs_key(sources, "3.12")
    for name in ("receipt_trainer/__pycache__/a.pyc", "receipt_trainer.egg-info/PKG-INFO"):
        path = sources / "trainer/src" / name
        path.parent.mkdir(parents=True)
        path.write_text("x")
    assert inputs_key(sources, "3.12") == before
    assert inputs_key(sources, "3.13") != before
    assert inputs_key(sources, "3.12", extras=()) != before


def test_failed_build_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    """Sources that do not build end in one line with pip's reason, and leave no folder that a later run could take."""
    sources = _small_sources(tmp_path / "sources")
    (sources / "trainer/pyproject.toml").write_text("[project]\nname = 'receipt-trainer'\nversion = 'not a version'\n")
    with pytest.raises(WheelhouseError, match="pip wheel failed"):
        build(sources, PYTHON, tmp_path / "cache", report=lambda line: None)
    assert list((tmp_path / "cache").iterdir()) == []


def test_repacked_wheels_differ_by_content_alone(tmp_path: Path) -> None:
    """Two archives with other order, dates and compression become the same bytes; another content does not."""
    files = {"a.py": "a = 1\n", "b.py": "b = 2\n"}
    wheels = []
    for name, ordered, method in (("one", files, 0), ("two", dict(reversed(files.items())), zipfile.ZIP_DEFLATED)):
        (tmp_path / name).mkdir()
        made = make_wheel(tmp_path / name, "thing", ordered)
        with zipfile.ZipFile(made) as archive:
            entries = {entry: archive.read(entry) for entry in archive.namelist()}
        with zipfile.ZipFile(made, "w", method) as archive:
            for entry, data in entries.items():
                archive.writestr(entry, data)
        wheels.append(made)
    assert wheels[0].read_bytes() != wheels[1].read_bytes()
    for wheel in wheels:
        repack(wheel)
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    other = make_wheel(tmp_path, "thing", {**files, "a.py": "a = 2\n"})
    repack(other)
    assert other.read_bytes() != wheels[0].read_bytes()


def test_closure_takes_markers_of_the_worker_not_of_this_machine(tmp_path: Path) -> None:
    """Requirements for Windows, for an older Python and for extras not asked for are left out; torch always is."""
    lines = [
        "here",
        "windows; sys_platform == 'win32'",
        "old; python_version < '3.12'",
        "linux; sys_platform == 'linux'",
    ]
    lines += ["torch", "wanted; extra == 'train'", "unwanted; extra == 'serve'"]
    about = "Provides-Extra: train\nProvides-Extra: serve\n" + "".join(f"Requires-Dist: {line}\n" for line in lines)
    wheel = make_wheel(tmp_path, "trainer", {}, about)
    pins = tmp_path / "constraints.txt"
    pins.write_text("here==1\nlinux==1\nwanted==1\n")
    needed = Needed(Pins.read(pins), "3.12")
    assert needed.add(requirements_of(wheel), {"train"}, "trainer") == {"here", "linux", "wanted"}


def test_extra_that_is_asked_for_later_is_followed(tmp_path: Path) -> None:
    """A distribution that is known already comes up again when something asks it for an extra."""
    pins = tmp_path / "constraints.txt"
    pins.write_text("here==1\n")
    needed = Needed(Pins.read(pins), "3.12")
    plain = make_wheel(tmp_path, "one", {}, "Requires-Dist: here\n")
    extra = make_wheel(tmp_path, "two", {}, "Requires-Dist: here[fast]\n")
    assert needed.add(requirements_of(plain), set(), "one") == {"here"}
    assert needed.add(requirements_of(plain), set(), "one") == set()
    assert needed.add(requirements_of(extra), set(), "two") == {"here"}
    assert needed.extras[canonicalize_name("here")] == {"fast"}


@pytest.mark.parametrize(
    ("pinned", "said"),
    [("", "no pin of here, which trainer needs; add here=="), ("here==1", "here==1, but trainer needs >=2")],
)
def test_pin_that_is_missing_or_contradicted_is_named(tmp_path: Path, pinned: str, said: str) -> None:
    """A requirement without a fitting pin stops the build with the file, the name and who asked for it."""
    pins = tmp_path / "constraints.txt"
    pins.write_text(pinned)
    wheel = make_wheel(tmp_path, "trainer", {}, "Requires-Dist: here>=2\n")
    with pytest.raises(WheelhouseError) as caught:
        Needed(Pins.read(pins), "3.12").add(requirements_of(wheel), set(), "trainer")
    assert str(pins) in str(caught.value)
    assert said in str(caught.value)


def test_constraint_that_is_no_pin_is_named(tmp_path: Path) -> None:
    """A range in the constraints file is refused with its line."""
    pins = tmp_path / "constraints.txt"
    pins.write_text("# pins\na==1\nb>=2\n")
    with pytest.raises(WheelhouseError, match=r"constraints\.txt:3: 'b>=2' is no pin"):
        Pins.read(pins)


@on_the_workers_platform
def test_an_edit_of_the_trainer_fetches_nothing(
    built: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an edit of the sources only the trainer's own wheel is made; the others are taken from the last build."""
    edited = tmp_path / "edited"
    shutil.copytree(sources, edited)
    with (edited / "trainer/src/receipt_trainer/errors.py").open("a") as file:
        file.write("# an edit\n")
    commands: list[str] = []
    pip = wheelhouse_build._pip

    def noted(command: str, arguments: Sequence[str], scratch: Path) -> None:
        commands.append(command)
        pip(command, arguments, scratch)

    monkeypatch.setattr(wheelhouse_build, "_pip", noted)
    again = build(edited, PYTHON, built.parent, extras=(), report=lambda line: None)
    assert commands == ["wheel"]
    before, after = (
        {wheel.file: wheel.sha256 for wheel in load(folder).wheels if wheel.name != "receipt-trainer"}
        for folder in (built, again)
    )
    assert before == after
    assert load(again).hash != load(built).hash
