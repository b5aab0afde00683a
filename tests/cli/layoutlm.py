"""Running `layoutlm-cli` as its users do, and looking at what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fork_server import Program

PROGRAM = Path(sys.executable).parent / "layoutlm-cli"
_UNSET = ("DYNAMO_TABLE_NAME", "JOBS_TABLE_NAME", "ARTIFACTS_BUCKET", "LAYOUTLM_O_TO_ENTITY_RATIO")


def environment() -> dict[str, str]:
    """One thread, a wide screen, and nothing of the developer's own stack."""
    kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
    return kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "HF_HUB_OFFLINE": "1"}


def run(*arguments: object, cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the program."""
    return Program("layoutlm-cli").complete(arguments, environment(), cwd, stdin or b"")


def succeed(*arguments: object, cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run it; anything but exit code 0 fails the test with what it said."""
    done = run(*arguments, cwd=cwd, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done


def read_lines(content: bytes) -> list[dict[str, Any]]:
    """JSON lines; NaN and Infinity, which JSON does not have, fail."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in content.splitlines()]
