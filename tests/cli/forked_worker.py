"""A hook of `tests.processes`: the worker that a demo starts, and what that starts, are forked and need no imports.

TEST_COMMANDS names the two commands as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
from types import SimpleNamespace
from typing import Any

from receipt_trainer.cli.commands import demo


def install(_: list[str]) -> None:
    """In this process alone."""
    del os.environ["TEST_HOOK"]
    worker, training = json.loads(os.environ["TEST_COMMANDS"])

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        assert command[1:4] == ["-m", "receipt_trainer", "start-worker"]
        return subprocess.Popen([*worker, json.dumps({"command": training}), *command[4:]], **options)

    changed: Any = demo
    changed.subprocess = SimpleNamespace(**vars(subprocess) | {"Popen": start})
