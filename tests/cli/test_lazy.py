"""Commands imported when they are called."""

from __future__ import annotations

import re
from importlib.metadata import requires

import click
import pytest

from receipt_trainer.cli.lazy import EXTRAS, LazyCommand, LazyGroup, run
from receipt_trainer.errors import UserError, WorldError


@click.command()
@click.argument("kind")
def fail(kind: str) -> None:
    """Raise what is asked for."""
    errors = {
        "user": UserError("two\nlines"),
        "world": WorldError("no network"),
        "bug": KeyError("oops"),
        "extra": ModuleNotFoundError(name="torch.utils"),
        "module": ModuleNotFoundError("oops", name="receipt_trainer.gone"),
    }
    if kind in errors:
        raise errors[kind]


def group() -> LazyGroup:
    """A group of one real command and one that cannot be imported."""
    return LazyGroup(
        name="prog",
        lazy_commands={
            "fail": LazyCommand(f"{__name__}:fail", "Fails as asked."),
            "broken": LazyCommand("no.such.module:command", "Is never imported by help."),
        },
    )


def test_help_lists_what_it_does_not_import(capsys: pytest.CaptureFixture[str]) -> None:
    """Help shows the texts of the mapping, even of a command whose module does not exist."""
    with pytest.raises(SystemExit) as end:
        run(group(), ["--help"])
    assert end.value.code == 0
    assert "Is never imported by help." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("user", 2, "error: two lines\n"),
        ("world", 1, "error: no network\n"),
        ("extra", 2, "error: torch is not installed: pip install './trainer[train]'\n"),
        ("fine", 0, ""),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], kind: str, code: int, words: str
) -> None:
    """A mistake of the user or a missing extra is exit code 2, a fault of the world 1, each one line on stderr."""
    with pytest.raises(SystemExit) as end:
        run(group(), ["fail", kind])
    assert end.value.code == code
    assert capsys.readouterr().err == words


@pytest.mark.parametrize(("kind", "error"), [("bug", KeyError), ("module", ModuleNotFoundError)])
def test_a_bug_keeps_its_traceback(kind: str, error: type[Exception]) -> None:
    """An error that is neither is not dressed up, nor is a module of ours that is not there."""
    with pytest.raises(error, match="oops"):
        run(group(), ["fail", kind])


def test_every_extra_is_known_by_its_modules() -> None:
    """Whatever package of an extra is missing, `run` can say which extra brings it."""
    modules = {"pillow": "PIL", "protobuf": "google", "opencv-python-headless": "cv2"}
    for requirement in requires("receipt-trainer") or []:
        found = re.match(r"([\w.-]+).*; extra == [\"'](\w+)", requirement)
        if found:
            package, extra = found.groups()
            module = modules.get(package, package.replace("-", "_"))
            assert module in {name for names in EXTRAS.values() for name in names.split()}, requirement
            assert extra in EXTRAS


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that does not exist is a usage error."""
    with pytest.raises(SystemExit) as end:
        run(group(), ["nope"])
    assert end.value.code == 2
    assert "No such command 'nope'" in capsys.readouterr().err
