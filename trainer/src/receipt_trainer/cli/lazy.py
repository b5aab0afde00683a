"""Commands that are imported when they are called, so that `--help` imports none of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

import click

from receipt_trainer.cli.options import strict
from receipt_trainer.errors import UserError, WorldError


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is and what `--help` says about it.

    Attributes:
        target: "module:attribute" of a click command; a module with a dot before it is one of `receipt_trainer.cli`.
        help: one line, shown in the group's list of commands.
    """

    target: str
    help: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(import_module(module, "receipt_trainer.cli"), attribute)
        return strict(command)


class LazyGroup(click.Group):
    """A group whose commands are named with their help texts and imported only when one is called."""

    def __init__(self, *args: Any, lazy_commands: Mapping[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy_commands = dict(lazy_commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the mapping."""
        return [*self.lazy_commands, *(name for name in super().list_commands(ctx) if name not in self.lazy_commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command called `cmd_name`; None if there is none."""
        lazy = self.lazy_commands.get(cmd_name)
        return lazy.load() if lazy is not None else super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by the help texts of the mapping, importing nothing."""
        rows = []
        for name in self.list_commands(ctx):
            lazy = self.lazy_commands.get(name)
            command = None if lazy else self.get_command(ctx, name)
            rows.append((name, lazy.help if lazy else command.get_short_help_str(100) if command else ""))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def run(group: click.Command, argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command line program and exit: 0 done, 1 a fault of the world, 2 a mistake of the user.

    Both faults are one line on stderr; a bug of ours keeps its traceback.

    Args:
        group: the program; its name is the program's name in usage texts.
        argv: arguments without the program's name; sys.argv's by default.
    """
    try:
        strict(group).main(args=None if argv is None else list(argv), prog_name=group.name)
    except (UserError, WorldError) as error:
        click.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(error.exit_code)
    sys.exit(0)
