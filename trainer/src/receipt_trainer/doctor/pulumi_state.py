"""Output of the pulumi CLI: its version, a stack's outputs, and the state it keeps of it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from receipt_trainer.errors import WorldError

TIMEOUT_S: Final = 60


@dataclass(frozen=True)
class State:
    """A stack's state, as `pulumi stack export` writes it.

    Attributes:
        resources: each with `urn`, `type`, and, if it is something on AWS, `id`, `inputs` and `outputs`.
        pending: (kind, such as creating, and URN) of operations that were cut off.
    """

    resources: tuple[dict[str, Any], ...]
    pending: tuple[tuple[str, str], ...]

    @cached_property
    def urns(self) -> frozenset[str]:
        """URNs of all resources."""
        return frozenset(str(one["urn"]) for one in self.resources)

    @cached_property
    def known(self) -> frozenset[str]:
        """Ids and ARNs of all resources."""
        ids = (str(one["id"]) for one in self.resources if one.get("id"))
        arns = (str((one.get("outputs") or {}).get("arn", "")) for one in self.resources)
        return frozenset([*ids, *arns]) - {""}

    def ids(self, kind: str) -> list[str]:
        """Ids of the resources of one type token."""
        return [str(one["id"]) for one in self.resources if one.get("type") == kind and one.get("id")]


def run(*words: str) -> str:
    """Run pulumi in the current folder; its standard output.

    Raises:
        WorldError: it is not there, takes too long, or fails; with its last words.
    """
    try:
        command = ["pulumi", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except OSError:
        raise WorldError("no pulumi on PATH") from None
    except subprocess.TimeoutExpired:
        raise WorldError(f"pulumi did not answer in {TIMEOUT_S} s") from None
    if done.returncode:
        raise WorldError(f"pulumi says: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.stdout


def read_outputs(stack: str) -> dict[str, Any]:
    """The stack's outputs; empty before its first update. WorldError: pulumi cannot say."""
    return _parsed(run("stack", "output", "--json", "--non-interactive", "--stack", stack))


def read_state(stack: str) -> State:
    """The stack's state as pulumi keeps it; WorldError: pulumi cannot say."""
    deployment = _parsed(run("stack", "export", "--non-interactive", "--stack", stack)).get("deployment") or {}
    pending = [
        (str(one.get("type")), str((one.get("resource") or {}).get("urn")))
        for one in deployment.get("pending_operations") or ()
    ]
    return State(tuple(deployment.get("resources") or ()), tuple(pending))


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        raise WorldError("pulumi wrote something that is not JSON") from None
    return found if isinstance(found, dict) else {}
