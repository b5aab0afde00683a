"""`receipt-trainer vl experiments`: configurations that each change one thing."""

from __future__ import annotations

from typing import Final

from receipt_trainer.cli.lazy import LazyCommand, LazyGroup

_ROOM: Final = "receipt_trainer.cli"

group = LazyGroup(
    name="experiments",
    help="A folder of configurations that each change one parameter: run them, compare them.",
    lazy_commands={
        "run": LazyCommand(f"{_ROOM}.vl_experiments_run:command", "Train and score each, or queue them as jobs."),
        "compare": LazyCommand(f"{_ROOM}.vl_experiments_compare:command", "Rank what came of them."),
    },
)
