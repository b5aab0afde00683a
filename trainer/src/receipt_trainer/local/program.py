"""A Pulumi program run in this process, without the pulumi CLI: what it registers is recorded, not deployed."""

from __future__ import annotations

import asyncio
import contextvars
import os
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pulumi.runtime import settings
from pulumi.runtime.config import set_all_config
from pulumi.runtime.stack import run_in_stack

from receipt_trainer.local import mock_outputs
from receipt_trainer.local.mock_invokes import Answer
from receipt_trainer.local.program_config import load_config, qualified
from receipt_trainer.local.program_monitor import Monitor
from receipt_trainer.local.program_recording import Become, Recording, Registration

__all__ = ["Become", "Recording", "Registration", "load_config", "run"]

REGION: Final = "us-east-1"


def run(
    program: Path | Callable[[], Any],
    *,
    project: str = "receipt-trainer",
    stack: str = "dev",
    config: Mapping[str, Any] | None = None,
    become: Become | None = None,
    answers: Mapping[str, Answer] | None = None,
) -> Recording:
    """Run a program once; runs of one process do not see each other.

    Args:
        program: folder of `__main__.py`, or a function that registers resources.
        project: name of the project, namespace of keys without one.
        stack: name of the stack.
        config: as `load_config` gives it; nothing is read from files here.
        become: what a resource becomes; default: `<name>-id` and plausible outputs.
        answers: results of provider functions, and outputs of resources that are read, by token; before the known ones.

    Raises:
        LookupError: the program calls a provider function without an answer.
        Exception: whatever the program raises, as it is.
    """
    given = {"aws:region": REGION} | qualified(config or {}, project)
    region = given["aws:region"]
    monitor = Monitor(
        project=project,
        stack=stack,
        region=region,
        become=become or (lambda resource: mock_outputs.become(resource, region)),
        answers=answers or {},
    )
    # The SDK keeps its state in context variables: a copy of the context ends with the run.
    contextvars.copy_context().run(_evaluate, program, monitor, given)
    monitor.recording.resources.sort(key=lambda resource: (resource.type, resource.name, resource.urn))
    return monitor.recording


def _evaluate(program: Path | Callable[[], Any], monitor: Monitor, config: dict[str, str]) -> None:
    folder = program.resolve() if isinstance(program, Path) else None
    set_all_config(config, [])
    settings.ROOT.set(None)
    settings.configure(
        settings.Settings(
            project=monitor.project,
            stack=monitor.stack,
            monitor=monitor,
            engine=monitor,
            dry_run=False,
            organization="local",
            root_directory=str(folder or Path.cwd()),
        )
    )
    with _inside(folder) if folder else nullcontext(), asyncio.Runner() as runner:
        # One failure fails every output that depends on it; the first comes out of the run, the rest would be printed.
        runner.get_loop().set_exception_handler(lambda loop, context: None)
        runner.run(run_in_stack(lambda: _call(program, folder)))


def _call(program: Path | Callable[[], Any], folder: Path | None) -> None:
    # Nothing is returned: the SDK would take it for something to await.
    if folder:
        runpy.run_path(str(folder), run_name="__main__")
    elif callable(program):
        program()


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """The folder as working directory; modules of its own are imported anew and forgotten afterwards."""
    directory, path = Path.cwd(), list(sys.path)
    own = {entry.stem for entry in folder.iterdir() if entry.is_dir() or entry.suffix == ".py"}
    aside = _take_modules(own)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(directory)
        sys.path[:] = path
        _take_modules(own)
        sys.modules.update(aside)


def _take_modules(own: set[str]) -> dict[str, ModuleType]:
    """Take the modules (and what is in them) whose top-level names are the folder's out of `sys.modules`."""
    taken = {name for name in sys.modules if name.partition(".")[0] in own and name != "__main__"}
    return {name: sys.modules.pop(name) for name in taken}
