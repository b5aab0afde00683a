"""Keeps other libraries' banners off the user's screen, and shows our own progress instead."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def quiet_libraries() -> None:
    """Errors of transformers and datasets stay; advice, banners and their own bars go."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True", category=UserWarning)
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
    from datasets.utils.logging import disable_progress_bar
    from transformers.utils import logging

    disable_progress_bar()
    logging.set_verbosity_error()
    logging.disable_progress_bar()


@contextmanager
def reading_progress(console: Console, wanted: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar for receipts being read, on a terminal."""
    if not wanted or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("reading receipts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
