"""Numbers and texts of the command line that no command can use."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.types import FloatParamType, StringParamType

from receipt_trainer.cli import layoutlm, receipt_trainer
from receipt_trainer.cli.lazy import strict
from receipt_trainer.errors import UserError
from tests.cli.jobs import Caller

HALF = b"\xff\xfe".decode("utf-8", "surrogateescape")


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below this one, as a user reaches it."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for one in command.list_commands(context):
        found = command.get_command(context, one)
        assert found is not None
        yield from leaves(found, f"{name} {one}")


def params() -> Iterator[tuple[str, click.Parameter]]:
    """Every parameter of every command."""
    for program in (receipt_trainer.group, layoutlm.group):
        for name, command in leaves(program, str(program.name)):
            yield from ((f"{name} {param.name}", param) for param in command.params)


def test_no_number_of_any_command_may_be_nan_or_infinite() -> None:
    """Whatever the command and its bounds: there are some dozens, and each refuses all of them."""
    numbers = [(name, param) for name, param in params() if isinstance(param.type, FloatParamType)]
    assert len(numbers) > 12
    for name, param in numbers:
        for value in ("nan", "NaN", "inf", "-inf", "1e999"):
            with pytest.raises(UserError, match="is not a finite number"):
                print(name, param.type.convert(value, param, None))


def test_no_text_of_any_command_may_be_half() -> None:
    """Bytes that are no UTF-8, which Python hands over as half characters, are refused everywhere but in paths."""
    texts = [(name, param) for name, param in params() if isinstance(param.type, StringParamType)]
    assert len(texts) > 50
    for name, param in texts:
        with pytest.raises(UserError, match=r"b'\\xff\\xfe' is not UTF-8 text"):
            print(name, param.type.convert(HALF, param, None))
        assert param.type.convert("Öl €", param, None) == "Öl €"


def test_help_says_the_bounds_as_before() -> None:
    """What a number is called and where it must lie is click's to say."""

    @click.command()
    @click.option("--share", type=click.FloatRange(0, 1, min_open=True), help="Of all.")
    def command() -> None:
        """Nothing."""

    before = command.get_help(click.Context(command))
    assert "0<x<=1" in before
    assert strict(command).get_help(click.Context(command)) == before


@pytest.mark.parametrize(
    "words",
    [
        ("start-worker", "--idle-timeout", "nan"),
        ("logs", "a-job", "--jobs-table", "t", "--timeout", "inf"),
        ("watch", "a-job", "--jobs-table", "t", "--interval", "nan"),
        ("submit-job", "--config", "job.yaml", "--client-token", HALF),
        ("jobs", "--jobs-table", "t", "--name", HALF),
        ("jobs", "--jobs-table", HALF),
    ],
)
def test_a_user_is_told_so(words: tuple[str, ...], call: Caller) -> None:
    """One line, exit code 2, the option and what is wrong with it."""
    said = call(*words)
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1
    assert "is not a finite number" in said.err or "is not UTF-8 text" in said.err
    assert f"error: {words[-2]}: " in said.err
