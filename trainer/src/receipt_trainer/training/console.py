"""Keeps other libraries' banners off the user's screen, and shows our own progress instead."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def say_loading(stream: IO[str] | None = None) -> None:
    """Before the imports of PyTorch and transformers, which take seconds: to `stream`, or to a terminal's stderr."""
    if "torch" not in sys.modules and (stream is not None or sys.stderr.isatty()):
        print("loading PyTorch and transformers ...", file=stream or sys.stderr, flush=True)


def quiet_libraries() -> None:
    """Errors of transformers stay; advice, banners and its own bars go."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True", category=UserWarning)
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


@contextmanager
def progress_bar(console: Console, label: str, wanted: bool = True) -> Iterator[Callable[[int, int], None] | None]:
    """A callback (done, total) that draws a bar on a terminal; None without a terminal."""
    if not wanted or not console.is_terminal:
        yield None
        return
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def say(console: Console, text: str) -> None:
    """Print a text as it is: no markup, no colours, no breaks but its own."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
