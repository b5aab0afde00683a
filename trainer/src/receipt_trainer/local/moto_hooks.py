"""What moto's Auto Scaling lacks: the end of a lifecycle action, and its refusal to end what is no member.

moto 5.2 answers CompleteLifecycleAction with a page of HTML and status 500; its instances wait for no hook, so there is
nothing to complete. To end an instance that is in no group is a fault of its own, where AWS says that it found none.
"""

from __future__ import annotations

from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import AutoScalingBackend
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import EmptyResult


def install() -> None:
    """Put the methods in their places, in this process."""
    owner: Any = AutoScalingResponse
    owner.complete_lifecycle_action = _complete
    backend: Any = AutoScalingBackend
    end = backend.terminate_instance

    def terminate_instance(self: Any, instance_id: str, should_decrement: bool) -> Any:
        members = (state for group in self.autoscaling_groups.values() for state in group.instance_states)
        if all(state.instance.id != instance_id for state in members):
            found = f"No managed instance found for instance ID: {instance_id}"
            raise ValidationError(f"Instance Id not found - {found}")
        return end(self, instance_id, should_decrement)

    backend.terminate_instance = terminate_instance


def _complete(self: Any) -> EmptyResult:
    return EmptyResult()
