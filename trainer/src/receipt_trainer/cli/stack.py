"""`--stack` and `--outputs`: names of tables, bucket and region from what the stack exports."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.doctor.pulumi_state import read_outputs
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from receipt_trainer.local.session import Session

Function = TypeVar("Function", bound=Callable[..., Any])

_META: Final = f"{__name__}.outputs"
_LOCAL: Final = f"{__name__}.local"
_GIVEN: Final = f"{__name__}.given"
LOCAL: Final = "local"
"""The stack that means the local session."""
_SAVE: Final = "pulumi stack output --json > outputs.json"


def stack_options(function: Function) -> Function:
    """Adds both options; they are read first and fill the environment, so that a flag beside them wins."""
    for option in (
        click.option(
            "--outputs",
            metavar="FILE",
            type=click.Path(path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=_from_file,
            help=f"Take names and region from a saved copy: {_SAVE}",
        ),
        click.option(
            "--stack",
            metavar="NAME",
            is_eager=True,
            expose_value=False,
            callback=_from_pulumi,
            help="Take names and region from this Pulumi stack's outputs; 'local': the session of `local up`.",
        ),
    ):
        function = option(function)
    return function


def _from_file(context: click.Context, option: click.Parameter, path: Path | None) -> None:
    if path is not None and not context.resilient_parsing:
        context.meta[_GIVEN] = f" --outputs {shlex.quote(str(path))}"
        _apply(context, load(path))


def _from_pulumi(context: click.Context, option: click.Parameter, stack: str | None) -> None:
    if stack is None or context.resilient_parsing:
        return
    context.meta[_GIVEN] = f" --stack {shlex.quote(stack)}"
    if stack == LOCAL:
        from receipt_trainer.local import session

        enter(found := session.require())
        context.meta[_LOCAL] = found
        context.meta[_META] = found.outputs
    else:
        _apply(context, _ask_pulumi(stack))


def enter(session: Session) -> None:
    """From here on this process works in a local session, whatever its environment said before."""
    environment = session.applied_to(os.environ)
    os.environ.clear()
    os.environ.update(environment)


def local_session() -> Session | None:
    """The local session, if `--stack local` of the running command means it."""
    found: Session | None = click.get_current_context().meta.get(_LOCAL)
    return found


def given() -> str:
    """The running command's `--stack` or `--outputs`, with a space before it, for a command that is proposed next."""
    found: str = click.get_current_context().meta.get(_GIVEN, "")
    return found


def _apply(context: click.Context, outputs: StackOutputs) -> None:
    context.meta[_META] = outputs
    os.environ.update(outputs.environment_variables())


def outputs() -> StackOutputs | None:
    """The outputs by `--stack` or `--outputs` of the running command; None without them."""
    found: StackOutputs | None = click.get_current_context().meta.get(_META)
    return found


def require_outputs() -> StackOutputs:
    """As `outputs`; UserError: without a stack there is nothing to do."""
    found = outputs()
    if found is None:
        raise UserError("--stack NAME is needed (or --outputs FILE)")
    return found


def load(path: Path) -> StackOutputs:
    """Read a saved copy of the outputs; UserError: the file is not there or no copy of the outputs."""

    try:
        return StackOutputs.load(path)
    except OSError as error:
        raise UserError(f"--outputs {path}: {error.strerror or error}; make it with: {_SAVE}") from None
    except ValueError as error:
        raise UserError(f"--outputs {path}: {error}; write it again with: {_SAVE}") from None


def _ask_pulumi(stack: str) -> StackOutputs:
    """The outputs that pulumi knows in the current folder, which must be the program's.

    Raises:
        UserError: there is no pulumi, no such stack, or its outputs are not ours.
    """
    try:
        return StackOutputs.parse(read_outputs(stack))
    except WorldError as error:
        hint = f"or save the outputs where it can, with `{_SAVE}`, and give --outputs outputs.json"
        raise UserError(f"--stack {stack}: {error}; {hint}") from None
    except ValueError as error:
        raise UserError(f"--stack {stack}: {error}") from None
