"""The wheelhouse as it is built from PyPI, and a package installed from it with no index at all."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.wheelhouse.archive import repack
from infra.wheelhouse.build import build, chosen_folder, dependencies_key, trainer_key
from infra.wheelhouse.closure import Pinned, pinned, read_pins, resolve
from infra.wheelhouse.manifest import MANIFEST, WheelhouseError, load
from tests.userdata.bake import PYTHON, make_wheel, make_wheelhouse

REPOSITORY = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9/"
OTHER = "3.13"

on_the_workers_platform = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="installs wheels for Linux x86_64"
)


def quiet(line: str) -> None:
    pass


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
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def built(sources: Path, cache_folder: Path, said: list[str]) -> Path:
    """The wheelhouse of the base package for this Python and another one, from PyPI."""
    return build(sources, [OTHER, PYTHON], cache_folder, extras=(), report=said.append)


@on_the_workers_platform
def test_base_package_installs_from_the_wheelhouse_with_no_index(built: Path, tmp_path: Path) -> None:
    """A fresh environment gets exactly the wheels of its own Python, and the trainer's command line answers."""
    python = tmp_path / "venv/bin/python"
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    wheels = tmp_path / "wheels"
    manifest = load(built)
    for stored in manifest.objects:
        if PYTHON in stored.pythons and stored.is_archive:
            with tarfile.open(built / stored.file) as tar:
                tar.extractall(wheels, filter="data")
        elif not stored.is_archive:
            shutil.copy(built / stored.file, wheels)
    assert {file.name for file in wheels.iterdir()} == {w.file for w in manifest.wheels if PYTHON in w.pythons}
    environment = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": NOWHERE, "HOME": str(tmp_path)}
    pip = [str(python), "-m", "pip"]
    command = [*pip, "install", "-q", "--no-index", "--no-deps", *map(str, sorted(wheels.iterdir()))]
    subprocess.run(command, env=environment, check=True, timeout=120)
    subprocess.run([*pip, "check"], env=environment, check=True, timeout=120)
    done = subprocess.run(
        [python.with_name("receipt-trainer"), "--help"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: receipt-trainer")


def test_built_wheelhouse_is_pinned_and_has_no_torch(built: Path) -> None:
    """Every wheel but the trainer's own is of the pinned version, and the manifest says what lies in the folder."""
    manifest = load(built)
    versions = {wheel.name: wheel.version for wheel in manifest.wheels}
    pins = read_pins(REPOSITORY / "trainer/constraints.txt")
    assert versions.pop("receipt-trainer") == "0.1.0"
    assert versions.items() <= dict(pins).items()
    assert {"boto3", "pydantic", "pydantic-core", "urllib3"} <= versions.keys()
    assert "torch" not in versions
    assert manifest.pythons == (PYTHON, OTHER)


def test_what_both_pythons_share_is_stored_once(built: Path) -> None:
    """A pure wheel lies in the shared archive; a compiled one in the archive of its Python."""
    manifest = load(built)
    where = {}
    for stored in manifest.objects:
        if stored.is_archive:
            with tarfile.open(built / stored.file) as tar:
                where[stored.pythons] = {name.partition("-")[0] for name in tar.getnames()}
    assert where.keys() == {(PYTHON, OTHER), (PYTHON,), (OTHER,)}
    assert "boto3" in where[PYTHON, OTHER]
    assert "pydantic_core" in where[PYTHON,] & where[OTHER,]
    assert not where[PYTHON, OTHER] & (where[PYTHON,] | where[OTHER,])


def test_a_build_says_where_how_much_and_how_far(built: Path, said: list[str]) -> None:
    """The first line names the Pythons and the place, then the size, the progress, and what came of it."""
    assert f"building it for Python {PYTHON} and {OTHER} in {built}" in said[0]
    assert any(re.search(r"\d+ wheels, of which \d+ are fetched, \d+ MB$", line) for line in said)
    assert re.search(r"fetched (\d+) of \1 wheels, (\d+) of \2 MB$", [line for line in said if "fetched " in line][-1])
    assert re.search(r"\d+ wheels, \d+ MB, hash [0-9a-f]{16}$", said[-1])


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
    """The trainer's wheel, built in two folders from files with other times and modes, is the same.

    What a killed build left beside the finished folders is never taken for one.
    """
    left = tmp_path / "cache-one/building.abc/house"
    left.mkdir(parents=True)
    (left / "half.tar").write_bytes(b"x")
    made = []
    for name, mode, seconds in (("one", 0o600, 1_000_000_000), ("two", 0o755, 1_700_000_000)):
        copy = _alone(sources, tmp_path / name, mode, seconds)
        made.append(build(copy, [PYTHON], tmp_path / f"cache-{name}", extras=(), report=quiet))
    assert made[0].name == made[1].name
    assert (made[0] / MANIFEST).read_text() == (made[1] / MANIFEST).read_text()
    assert [wheel.name for wheel in load(made[0]).wheels] == ["receipt-trainer"]


def test_ready_wheelhouse_that_lacks_a_python_is_refused(tmp_path: Path) -> None:
    """A folder in the configuration is taken as it is, unless it lacks a Python that is asked for."""
    folder = tmp_path / "wheelhouse"
    make_wheelhouse(folder)
    assert chosen_folder(REPOSITORY, [PYTHON], str(folder)) == folder
    wanted = f"is for Python {re.escape(PYTHON)}, wheelhouse.python_versions asks for {re.escape(PYTHON)} and 3.99"
    with pytest.raises(WheelhouseError, match=wanted):
        chosen_folder(REPOSITORY, [PYTHON, "3.99"], str(folder))


def test_built_folder_is_reused(
    sources: Path, built: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second build of the same sources starts no process, says nothing, and answers with the same folder."""
    monkeypatch.setattr(subprocess, "run", None)
    lines: list[str] = []
    before = (built / MANIFEST).stat().st_mtime_ns
    assert build(sources, [PYTHON, OTHER], cache_folder, extras=(), report=lines.append) == built
    assert lines == []
    assert (built / MANIFEST).stat().st_mtime_ns == before
    assert not list(cache_folder.glob("building.*")), "a scratch folder was left"


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
    ("file", "dependencies", "trainer"),
    [
        ("constraints.txt", True, False),
        ("pyproject.toml", True, True),
        ("src/receipt_trainer/__init__.py", False, True),
        ("src/new.txt", False, True),
    ],
)
def test_keys_change_with_their_inputs(tmp_path: Path, file: str, dependencies: bool, trainer: bool) -> None:
    """Pins ask for other archives, sources for another wheel of the trainer, metadata for both."""
    sources = _small_sources(tmp_path)
    before = dependencies_key(sources, ["3.12"]), trainer_key(sources)
    with (sources / "trainer" / file).open("a") as changed:
        changed.write("# more\n")
    assert (dependencies_key(sources, ["3.12"]) != before[0], trainer_key(sources) != before[1]) == (
        dependencies,
        trainer,
    )


def test_keys_ignore_what_python_leaves_behind(tmp_path: Path) -> None:
    """Compiled files and egg-info do not ask for another wheelhouse; another Python or other extras do."""
    sources = _small_sources(tmp_path)
    before = trainer_key(sources)
    for name in ("receipt_trainer/__pycache__/a.pyc", "receipt_trainer.egg-info/PKG-INFO"):
        path = sources / "trainer/src" / name
        path.parent.mkdir(parents=True)
        path.write_text("x")
    assert trainer_key(sources) == before
    keys = {dependencies_key(sources, pythons) for pythons in (["3.12"], ["3.13"], ["3.12", "3.13"])}
    assert len(keys | {dependencies_key(sources, ["3.12"], extras=())}) == 4
    assert dependencies_key(sources, ["3.13", "3.12"]) in keys


def test_failed_build_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    """Sources that do not build end in one line with pip's reason, and leave no folder that a later run could take."""
    sources = _small_sources(tmp_path / "sources")
    (sources / "trainer/pyproject.toml").write_text("[project]\nname = 'receipt-trainer'\nversion = 'not a version'\n")
    with pytest.raises(WheelhouseError, match="pip wheel failed"):
        build(sources, [PYTHON], tmp_path / "cache", report=quiet)
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_an_index_it_is_one_line(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index out of reach is named in one line that says what could not be worked out."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", NOWHERE)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(WheelhouseError) as caught:
        resolve(sources / "trainer", PYTHON, (), tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"wheelhouse: the wheels for Python {PYTHON} cannot be worked out: ")
    assert NOWHERE in text


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


def _locked(name: str, *files: str) -> dict[str, Any]:
    wheels = [{"url": f"https://x/{file}", "size": 1, "hashes": {"sha256": file}} for file in files]
    return {"name": name, "version": "1.0", "wheels": wheels}


def test_the_wheel_that_fits_best_is_chosen(tmp_path: Path) -> None:
    """Of the wheels of a version: this Python's own before the stable ABI's before a pure one; never a newer glibc."""
    tags = ["py3-none-any", "cp312-abi3-manylinux_2_17_x86_64", "cp313-cp313-manylinux_2_28_x86_64"]
    tags += ["cp313-cp313-manylinux_2_35_x86_64", "cp313-cp313-win_amd64", "cp314-cp314-manylinux_2_17_x86_64"]
    files = [f"a-1.0-{tag}.whl" for tag in tags]
    for python, best in (("3.13", files[2]), ("3.12", files[1]), ("3.11", files[0]), ("3.14", files[5])):
        chosen = pinned(_locked("a", *files), read_pins_of("a==1.0", tmp_path), python, tmp_path)
        assert chosen == Pinned(chosen.name, "1.0", best, best, 1), python


def read_pins_of(text: str, folder: Path) -> Any:
    (folder / "pins.txt").write_text(text)
    return read_pins(folder / "pins.txt")


@pytest.mark.parametrize(
    ("pins", "reason"),
    [
        ("b==1.0", "no pin of a, which the trainer needs; add a==1.0"),
        ("a==2.0", "a==2.0, but the trainer needs a==1.0"),
        ("a==1.0", "a==1.0 has no wheel for Python 3.13 on Linux x86_64 with glibc 2.34; pin a version that has one"),
    ],
)
def test_what_cannot_be_installed_is_named(tmp_path: Path, pins: str, reason: str) -> None:
    """A pin that is missing or another, and a version without a wheel that fits, stop the build with file and name."""
    with pytest.raises(WheelhouseError, match=re.escape(f"constraints.txt: {reason}")):
        pinned(
            _locked("a", "a-1.0-cp313-cp313-win_amd64.whl"),
            read_pins_of(pins, tmp_path),
            "3.13",
            Path("constraints.txt"),
        )


def test_constraint_that_is_no_pin_is_named(tmp_path: Path) -> None:
    """A range in the constraints file is refused with its line."""
    with pytest.raises(WheelhouseError, match=r"pins\.txt:3: 'b>=2' is not a pin"):
        read_pins_of("# pins\na==1\nb>=2\n", tmp_path)


def _noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is run from now on: `resolve` for uv, else pip's command."""
    commands: list[str] = []
    run = subprocess.run

    def noted(command: Sequence[str], **more: Any) -> Any:
        commands.append("resolve" if "uv" in command else command[3])
        return run(command, **more)

    monkeypatch.setattr(subprocess, "run", noted)
    return commands


def test_an_edit_of_the_trainer_makes_one_wheel(
    built: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an edit of the sources only the trainer's own wheel is made; archives are taken over, nothing is fetched.

    What is uploaded then, wheel and manifest, is less than 1 MB.
    """
    edited = tmp_path / "edited"
    shutil.copytree(sources, edited)
    with (edited / "trainer/src/receipt_trainer/errors.py").open("a") as file:
        file.write("# an edit\n")
    commands = _noted(monkeypatch)
    again = build(edited, [PYTHON, OTHER], built.parent, extras=(), report=quiet)
    assert commands == ["wheel"]
    before, after = load(built), load(again)
    new = [stored for stored in after.objects if stored not in before.objects]
    assert [stored.file for stored in new] == ["receipt_trainer-0.1.0-py3-none-any.whl"]
    assert new[0].size + (again / MANIFEST).stat().st_size < 1_000_000
    assert after.hash != before.hash


def test_other_pins_fetch_only_what_is_new(
    built: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another line in the pins, which changes no version, the closure is worked out anew; nothing is fetched."""
    edited = tmp_path / "edited"
    shutil.copytree(sources, edited)
    with (edited / "trainer/constraints.txt").open("a") as file:
        file.write("# a remark\n")
    commands = _noted(monkeypatch)
    again = build(edited, [PYTHON, OTHER], built.parent, extras=(), report=quiet)
    assert commands == ["wheel", "resolve", "resolve"]
    assert load(again) == load(built)
