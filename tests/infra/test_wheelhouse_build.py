"""The wheelhouse as it is built: resolved by uv, fetched by pip from the index, in archives by content."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.wheelhouse.archive import repack
from infra.wheelhouse.build import EXTRAS, build, chosen_folder, dependencies_key, trainer_key
from infra.wheelhouse.closure import PROVIDED, UNUSED, resolve
from infra.wheelhouse.manifest import WheelhouseError, load
from receipt_trainer.contract.names import WEIGHTS_PACKAGE
from tests.conftest import Once
from tests.userdata.bake import PYTHON, make_wheel, make_wheelhouse

REPOSITORY = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9/"
OTHER = "3.13"
PINS = dict(
    re.findall(
        r"(?m)^([\w.-]+)==(\S+)$", (REPOSITORY / "trainer/constraints.txt").read_text().lower().replace("_", "-")
    )
)
BOTH = sorted([PYTHON, OTHER])


def quiet(line: str) -> None:
    pass


def small_sources(folder: Path, requirements: Sequence[str] = ("click", "markupsafe"), pins: str = "") -> Path:
    """A trainer of one empty module that requires a pure and a compiled package, as they are pinned."""
    listed = pins or "".join(f"{name}=={PINS[name]}\n" for name in ("click", "markupsafe"))
    metadata = f"[project]\nname = 'receipt-trainer'\nversion = '0.1.0'\ndependencies = {[*requirements]}\n"
    for name, text in {
        "constraints.txt": listed,
        "pyproject.toml": f"{metadata}[tool.setuptools.packages.find]\nwhere = ['src']\n",
        "src/receipt_trainer/__init__.py": "",
    }.items():
        path = folder / "trainer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def built(sources: Path, tmp_path_factory: pytest.TempPathFactory, once: Once) -> Path:
    """The wheelhouse of the small trainer for this Python and another one, from the index; beside it what was said."""

    def make(folder: Path) -> None:
        said: list[str] = []
        build(sources, BOTH, folder, extras=(), report=said.append)
        (folder / "said").write_text("\n".join(said))

    houses = tmp_path_factory.mktemp("wheelhouses")
    shutil.copytree(once("wheelhouse", make), houses, dirs_exist_ok=True)
    return next(houses.glob("*/manifest.json")).parent


@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_the_closure_of_an_instance_is_pinned_and_has_no_torch(tmp_path: Path, python: str) -> None:
    """Every package that the trainer's extras need on an instance is of the pinned version, with hashes of its files,
    and the model that needs no hub, alone; what the parent image brings is left out."""
    found = resolve(REPOSITORY / "trainer", python, EXTRAS, tmp_path)
    versions = {one.name: one.version for one in found}
    assert versions.items() <= PINS.items()
    assert {"boto3", "pydantic-core", "transformers", "seqeval", WEIGHTS_PACKAGE} <= versions.keys()
    assert not versions.keys() & {*PROVIDED, UNUSED}
    assert all(one.hashes for one in found)


def test_what_both_pythons_share_is_stored_once(built: Path) -> None:
    """A pure wheel lies in the shared archive, a compiled one in the archive of its Python; the manifest fits."""
    manifest = load(built)
    where = {}
    for stored in manifest.objects:
        if stored.is_archive:
            with tarfile.open(built / stored.file) as tar:
                where[stored.pythons] = [name.partition("-")[0] for name in tar.getnames()]
    assert where == {tuple(BOTH): ["click"], (PYTHON,): ["markupsafe"], (OTHER,): ["markupsafe"]}
    compiled = {wheel.pythons: wheel.file for wheel in manifest.wheels if wheel.name == "markupsafe"}
    assert all(f"cp{python.replace('.', '')}-manylinux" in file for (python,), file in compiled.items())
    assert manifest.pythons == tuple(BOTH)


def test_a_build_says_where_how_much_and_how_far(built: Path) -> None:
    """The first line names the Pythons and the place, then for each Python the progress, and what came of it."""
    said = (built.parent / "said").read_text().splitlines()
    assert re.search(rf"building it for Python {' and '.join(BOTH)} in /\S+/{built.name};", said[0])
    for python in BOTH:
        at = said.index(f"wheelhouse: Python {python}: 2 wheels, of which 2 are fetched")
        assert re.search(r"fetched 2 of 2 wheels, \d+ MB$", said[at + 1])
    assert re.search(r"4 wheels, \d+ MB, hash [0-9a-f]{16}$", said[-1])


def test_ready_wheelhouse_that_lacks_a_python_is_refused(tmp_path: Path) -> None:
    """A folder in the configuration is taken as it is, unless it lacks a Python that is asked for."""
    folder = tmp_path / "wheelhouse"
    make_wheelhouse(folder)
    assert chosen_folder(REPOSITORY, [PYTHON], str(folder)) == folder
    wanted = f"is for Python {re.escape(PYTHON)}, wheelhouse.python_versions asks for {re.escape(PYTHON)} and 3.99"
    with pytest.raises(WheelhouseError, match=wanted):
        chosen_folder(REPOSITORY, [PYTHON, "3.99"], str(folder))


def test_built_folder_is_reused(sources: Path, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second build of the same sources starts no process, says nothing, and answers with the same folder."""
    monkeypatch.setattr(subprocess, "run", None)
    lines: list[str] = []
    assert build(sources, [*reversed(BOTH)], built.parent, extras=(), report=lines.append) == built
    assert lines == []
    assert not list(built.parent.glob("building.*")), "a scratch folder was left"


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("constraints.txt", (True, False)),
        ("pyproject.toml", (True, True)),
        ("src/receipt_trainer/__init__.py", (False, True)),
        ("src/new.txt", (False, True)),
        ("src/receipt_trainer/__pycache__/a.pyc", (False, False)),
        ("src/receipt_trainer.egg-info/PKG-INFO", (False, False)),
    ],
)
def test_keys_change_with_their_inputs(tmp_path: Path, file: str, changed: tuple[bool, bool]) -> None:
    """Pins ask for other archives, sources for another wheel of the trainer, metadata for both; what Python leaves
    behind for neither. Another Python or other extras are other archives."""
    sources = small_sources(tmp_path)
    before = dependencies_key(sources, ["3.12"]), trainer_key(sources)
    path = sources / "trainer" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as more:
        more.write("# more\n")
    after = dependencies_key(sources, ["3.12"]), trainer_key(sources)
    assert (after[0] != before[0], after[1] != before[1]) == changed
    keys = {dependencies_key(sources, pythons) for pythons in (["3.12"], ["3.13"], ["3.12", "3.13"], ["3.13", "3.12"])}
    assert len(keys | {dependencies_key(sources, ["3.12"], extras=())}) == 4


def test_failed_build_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    """Sources that do not build end in one line with pip's reason, and leave no folder that a later run could take."""
    sources = small_sources(tmp_path / "sources")
    (sources / "trainer/pyproject.toml").write_text("[build-system]\nrequires = []\nbuild-backend = 'nothing'\n")
    with pytest.raises(WheelhouseError, match="pip wheel failed"):
        build(sources, [PYTHON], tmp_path / "cache", report=quiet)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("requirements", "pins", "says"),
    [
        (["click"], "markupsafe==3.0.3", rf"constraints\.txt: no pin of click, .*; add click=={PINS['click']}"),
        (["click>=99"], "click==8.1.0", r"cannot be worked out: .*click>=99"),
        (
            ["antlr4-python3-runtime"],
            "antlr4-python3-runtime==4.9.3",
            "antlr4-python3-runtime==4.9.3 has no (usable )?wh",
        ),
    ],
)
def test_what_cannot_be_installed_is_named(tmp_path: Path, requirements: list[str], pins: str, says: str) -> None:
    """A pin that is missing or another than the trainer needs, and one without a wheel, stop the build by name."""
    sources = small_sources(tmp_path, requirements, f"{pins}\n")
    with pytest.raises(WheelhouseError, match=says) as caught:
        resolve(sources / "trainer", OTHER, (), tmp_path)
    assert "\n" not in str(caught.value)


def test_without_an_index_it_is_one_line(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index out of reach is named in one line that says what could not be worked out."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", NOWHERE)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(WheelhouseError) as caught:
        resolve(sources / "trainer", PYTHON, (), tmp_path)
    text = str(caught.value)
    assert text.startswith(f"wheelhouse: the wheels for Python {PYTHON} cannot be worked out: ")
    assert NOWHERE in text.splitlines()[0]
    assert "\n" not in text


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


def again(
    built: Path, sources: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str
) -> tuple[list[str], Path]:
    """Commands and result of a build of the sources, elsewhere, with other modes and times, after an edit of a file."""
    shutil.copytree(sources, folder)
    for path in (folder / "trainer/src").rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o600)
    with (folder / "trainer" / file).open("a") as edited:
        edited.write(text)
    commands: list[str] = []
    run = subprocess.run

    def noted(command: Sequence[str], **more: Any) -> Any:
        if command[0] == sys.executable:
            commands.append("resolve" if "uv" in command else command[3])
        return run(command, **more)

    monkeypatch.setattr(subprocess, "run", noted)
    return commands, build(folder, BOTH, built.parent, extras=(), report=quiet)


def test_an_edit_of_the_trainer_makes_one_wheel(
    built: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an edit of the sources only the trainer's own wheel is made; archives are taken over."""
    edit = "src/receipt_trainer/__init__.py", "# an edit\n"
    commands, folder = again(built, sources, tmp_path / "edited", monkeypatch, *edit)
    assert commands == ["wheel"]
    before, after = load(built), load(folder)
    new = [stored for stored in after.objects if stored not in before.objects]
    assert [stored.file for stored in new] == ["receipt_trainer-0.1.0-py3-none-any.whl"]
    assert after.hash != before.hash


def test_other_pins_fetch_only_what_is_new(
    built: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another line in the pins, which changes no version, the closure is worked out anew; nothing is fetched. The
    same wheels have the same hash, the trainer's own among them, from files with other times and modes. What a killed
    build left beside the finished folders is never taken for one."""
    left = built.parent / "building.abc/house"
    left.mkdir(parents=True)
    (left / "half.tar").write_bytes(b"x")
    commands, folder = again(built, sources, tmp_path / "edited", monkeypatch, "constraints.txt", "# a remark\n")
    shutil.rmtree(left.parent)
    assert commands == ["wheel", "resolve", "resolve"]
    assert folder != built
    assert load(folder) == load(built)
