"""The bake of the Golden AMI: the phases of the stack's own component, one after the other, as they come in a bake."""

from __future__ import annotations

import time
from typing import Any

import yaml

from tests.boot.cloud import Account
from tests.boot.instance import Instance


def bake(account: Account, machine: Instance) -> dict[str, float]:
    """Run build, validate and test on a machine of the parent image; returns the seconds of each.

    Raises:
        AssertionError: a step fails; with what it said.
    """
    document: dict[str, Any] = yaml.safe_load(account.component)
    times = {}
    for phase in document["phases"]:
        started = time.monotonic()
        for step in phase["steps"]:
            done = machine.run_alone("\n".join(step["inputs"]["commands"]))
            assert done.returncode == 0, f"{phase['name']}, {step['name']}: {done.stdout}"
        times[phase["name"]] = time.monotonic() - started
    print("bake:", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items()))
    return times
