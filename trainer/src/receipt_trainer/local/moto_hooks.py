"""What moto's Auto Scaling lacks: the end of a lifecycle action, which a worker asks for after its own end.

moto 5.2 answers CompleteLifecycleAction with a page of HTML and status 500. Its instances wait for no hook, so there is
nothing to complete.
"""

from __future__ import annotations

from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import EmptyResult


def install() -> None:
    """Put the method in its place, in this process."""
    owner: Any = AutoScalingResponse
    owner.complete_lifecycle_action = _complete


def _complete(self: Any) -> EmptyResult:
    return EmptyResult()
