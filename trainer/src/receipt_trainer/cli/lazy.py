"""Commands that are imported when they are called, so that `--help` of a group imports none of them.

Their parameters take neither NaN nor infinities nor bytes that are no text, which click lets through.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final, NoReturn

import click
from click.types import FloatParamType, StringParamType

from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.files import FULL, disk_full

EXTRAS: Final = {
    "train": "accelerate huggingface_hub numpy onnx pyarrow safetensors seqeval tensorboard torch transformers",
    "report": "jinja2 markupsafe matplotlib",
    "sweep": "optuna",
    "synthetic": "babel faker",
    "vl": "jsonschema peft rapidfuzz referencing scipy",
    "read": "PIL cv2 onnxruntime pypdfium2 rapidocr tokenizers",
    "serve": "h11 python_multipart starlette uvicorn",
    "heic": "pi_heif",
    "local": "google moto pulumi pulumi_aws",
}
"""The extras of the package, by what they are told to be needed for: the modules that are missing without them."""


class _Finite(FloatParamType):
    """A number; NaN is within no bounds and beyond none, so that a limit of it would be no limit."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            raise UserError(f"{_name(param)}: {value} is not a finite number")
        return number


class _FiniteRange(click.FloatRange, _Finite):
    """A number within bounds."""


class _Text(StringParamType):
    """A text; bytes that are no UTF-8 reach a program as half characters, which no table or queue takes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        if isinstance(text, str) and any("\ud800" <= char <= "\udfff" for char in text):
            raise UserError(f"{_name(param)}: {text.encode('utf-8', 'surrogateescape')!r} is not UTF-8 text")
        return text


def _name(param: click.Parameter | None) -> str:
    return "a value" if param is None else param.opts[0] if param.opts else param.human_readable_name


def strict(command: click.Command) -> click.Command:
    """The command, and those within it, with parameters that take finite numbers and whole texts only."""
    for param in command.params:
        param.type = _strict(param.type)
    for inner in getattr(command, "commands", {}).values():
        strict(inner)
    return command


def _strict(kind: click.ParamType[Any]) -> click.ParamType[Any]:
    if type(kind) is click.FloatRange:
        return _FiniteRange(kind.min, kind.max, kind.min_open, kind.max_open, kind.clamp)
    if type(kind) is FloatParamType:
        return _Finite()
    return _Text() if type(kind) is StringParamType else kind


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is, `.module:attribute` of `receipt_trainer.cli`, and what its group's `--help` says about it."""

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
    """Run a command line program and exit: 0 done, 1 a fault of the world, 2 a mistake of the user, 130 Ctrl+C.

    Mistakes and faults are one line on stderr, and so is an extra that is not installed; a bug of ours keeps its
    traceback.
    """
    args = None if argv is None else list(argv)
    try:
        strict(group)
        code = group.main(args=args, prog_name=group.name, show_default=True, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _end(_usage(error), error.exit_code)
    except click.Abort as error:
        is_ctrl_c = isinstance(error.__cause__, KeyboardInterrupt)
        click.echo("stopped" if is_ctrl_c else "nothing was done", err=True)
        sys.exit(130 if is_ctrl_c else 1)
    except (UserError, WorldError) as error:
        _end(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        extra = next((name for name, modules in EXTRAS.items() if module in modules.split()), None)
        if extra is None:
            raise
        _end(f"{module} is not installed: pip install './trainer[{extra}]'", UserError.exit_code)
    except OSError as error:
        if error.errno not in FULL:
            raise
        _end(str(disk_full(error.filename or "standard output")), WorldError.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _end(text: str, code: int) -> NoReturn:
    click.echo(f"error: {' '.join(text.split())}", err=True)
    sys.exit(code)


def _usage(error: click.ClickException) -> str:
    """What click says of a wrong call, with the commands that may be meant, and where all of them are told."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return error.format_message()
    text = error.format_message()
    if isinstance(error, click.exceptions.NoSuchCommand) and isinstance(context.command, click.Group):
        meant = _meant(error.command_name, context, context.command)
        text = error.message + (f" Did you mean {' or '.join(meant)}?" if meant else "")
    elif isinstance(error, click.MissingParameter) and error.param and "--stack" in _flags(context):
        if any(flag.endswith("-table") for flag in error.param.opts):
            text = f"which stack? give --stack NAME or --outputs FILE (or {error.param.opts[0]}, {error.param.envvar})"
    elif context.parent is not None and isinstance(context.parent.command, click.Group):
        stem = str(context.info_name).removesuffix("s")  # `sweep status` is meant to be `sweep-status`
        names = context.parent.command.list_commands(context.parent)
        meant = [name for name in names if name.startswith(f"{stem}-") and f"({name[len(stem) + 1 :]}" in text]
        text += f" Did you mean '{context.parent.command_path} {meant[0]}'?" if meant else ""
    return f"{text} (see {context.command_path} --help)"


def _flags(context: click.Context) -> set[str]:
    return {flag for param in context.command.params for flag in param.opts}


def _meant(word: str, context: click.Context, group: click.Group) -> list[str]:
    """Full command lines of those like `word`: of its own group first, then of all."""
    own = group.list_commands(context)
    found = get_close_matches(word, own) or [name for name in own if word in name.split("-")]
    if found:
        return [f"'{context.command_path} {name}'" for name in found[:3]]
    programs = (import_module(f"receipt_trainer.cli.{name}").group for name in ("layoutlm", "receipt_trainer"))
    paths = {path: path.rpartition(" ")[2] for program in programs for path in _paths(program, str(program.name))}
    like = get_close_matches(word, paths.values(), cutoff=0.8)
    return [f"'{path}'" for path, name in paths.items() if name in like][:3]


def _paths(group: click.Group, path: str) -> Iterator[str]:
    """All commands below a group of this package, importing none of them."""
    for name, lazy in getattr(group, "lazy_commands", {}).items():
        yield f"{path} {name}"
        if lazy.target.startswith(".receipt_trainer:"):
            yield from _paths(lazy.load(), f"{path} {name}")
