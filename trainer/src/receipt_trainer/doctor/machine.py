"""The programs and packages beside us: pulumi's CLI and SDK, the AWS CLI and its plugin for sessions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from receipt_trainer.doctor import pulumi_state
from receipt_trainer.doctor.findings import Finding, failure, ok, warning
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.errors import WorldError

OLDEST_CLI: Final = (3, 219, 0)
"""The first that reads requiredPulumiVersion (pulumi's CHANGELOG); older ones ignore it."""
SDKS: Final = ("pulumi", "pulumi-aws")

_TIMEOUT_S: Final = 20
_INSTALL: Final = "https://www.pulumi.com/docs/iac/download-install/"


def look_at_pulumi(subject: Subject) -> Iterator[Finding]:
    """The CLI and its age; a machine that works with saved outputs needs none."""
    try:
        said = pulumi_state.run("version").strip()
    except WorldError as error:
        if subject.outputs and not subject.stack:
            yield ok(f"{error}; with --outputs it is not needed")
        else:
            yield failure(str(error), f"Install it: {_INSTALL}.")
        return
    version = _version(said)
    if version < OLDEST_CLI:
        least = ".".join(map(str, OLDEST_CLI))
        yield failure(f"pulumi {said.lstrip('v')} is older than {least}", f"Install a current one: {_INSTALL}.")
    else:
        yield ok(f"pulumi {said.lstrip('v')}")


def look_at_sdk(subject: Subject) -> Iterator[Finding]:
    """pulumi's packages, in the environment that `pulumi install` made, or in this one."""
    own = sorted(subject.folder.glob("venv/lib/python*/site-packages"))
    there = distributions(path=[str(own[-1])]) if own else distributions()
    found = {one.name.lower().replace("_", "-"): one.version for one in there}
    missing = [name for name in SDKS if name not in found]
    if missing:
        yield warning(f"not installed: {', '.join(missing)}, which `pulumi preview` needs", "pulumi install")
    else:
        yield ok("SDK: " + ", ".join(f"{name} {found[name]}" for name in SDKS))


def look_at_aws_cli(subject: Subject) -> Iterator[Finding]:
    """The AWS CLI of version 2 and the plugin for sessions: commands of the documents and of this list use them."""
    said = _ask("aws", "--version")
    if said is None:
        yield warning("no AWS CLI on PATH", "Install version 2: https://aws.amazon.com/cli/.")
    elif _version(said) < (2,):
        remedy = "Install version 2: https://aws.amazon.com/cli/."
        if Path(shutil.which("aws") or "").parent == Path(sys.prefix, "bin"):
            remedy = f"It is this environment's own and hides any other: `deactivate` for AWS's commands. {remedy}"
        yield warning(f"{said.split()[0]} is not version 2", remedy)
    else:
        yield ok(said.split()[0])
    plugin = _ask("session-manager-plugin", "--version")
    if plugin is None:
        yield warning(
            "no session-manager-plugin on PATH: no sessions on instances",
            "Install it: docs.aws.amazon.com/systems-manager/latest/userguide/"
            "session-manager-working-with-install-plugin.html.",
        )
    else:
        yield ok(f"session-manager-plugin {plugin.strip()}")


def _ask(*command: str) -> str | None:
    """The output of a program; None if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = (done.stdout or done.stderr).strip()
    return said if done.returncode == 0 and said else None


def _version(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)


def look_at_program(subject: Subject) -> Iterator[Finding]:
    """Whether this is the program's folder, in which pulumi's commands work."""
    if (Path(subject.folder) / "Pulumi.yaml").is_file():
        yield ok("the program's folder")
    elif subject.outputs and not subject.stack:
        yield ok("not the program's folder; with --outputs it need not be")
    else:
        yield failure("no Pulumi.yaml here: pulumi's commands work in the clone's folder", "cd CLONE")
