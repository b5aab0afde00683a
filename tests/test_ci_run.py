"""The script of continuous integration, with programs that write down how they are called."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of the script alone, on a Debian of root without any of the programs that it installs."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "dirname"):
        (programs / name).symlink_to(str(shutil.which(name)))
    write_program(programs / "id", "echo 0")
    write_program(programs / "make", f'echo "make $*" >>{tmp_path}/calls')
    return tmp_path


def write_program(path: Path, body: str) -> None:
    path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
    path.chmod(0o755)


def run(checkout: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(checkout / "programs")}
    return subprocess.run(
        [checkout / ".ci" / "run"], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def calls(checkout: Path) -> list[str]:
    return (checkout / "calls").read_text().splitlines()


@pytest.mark.parametrize("failing", ["update", "install"])
def test_packages_that_cannot_be_installed_are_told_and_all_is_checked(checkout: Path, failing: str) -> None:
    """Without a network to Debian each package is warned of, and both `make test` and `make boot` run."""
    write_program(checkout / "programs" / "apt-get", f'[ "$1" != {failing} ] || exit 100')
    done = run(checkout)
    assert done.returncode == 0, done.stderr
    assert calls(checkout) == ["make test", "make boot"]
    warnings = done.stderr.splitlines()
    assert len(warnings) == 3
    assert warnings[0].startswith("warning: ")
    assert warnings[0].endswith("tesseract-ocr")
    assert warnings[1].endswith("chromium")
    assert "mmdebstrap" in warnings[2]


def test_what_is_missing_is_installed_before_it_is_needed(checkout: Path) -> None:
    """Tesseract and Chromium before the tests, the programs of the boots before the boots; nothing is warned of."""
    write_program(
        checkout / "programs" / "apt-get", f'[ "$1" = update ] || echo "install ${{@: -1}}" >>{checkout}/calls'
    )
    done = run(checkout)
    assert (done.returncode, done.stderr) == (0, "")
    installed = ["install tesseract-ocr", "install chromium"]
    assert calls(checkout) == [*installed, "make test", "install openssl", "make boot"]


def test_a_failed_test_ends_the_check(checkout: Path) -> None:
    """Where `make test` fails, nothing is booted and the check fails."""
    write_program(checkout / "programs" / "apt-get", "")
    write_program(checkout / "programs" / "make", f'echo "make $*" >>{checkout}/calls; exit 2')
    assert run(checkout).returncode == 2
    assert calls(checkout) == ["make test"]
