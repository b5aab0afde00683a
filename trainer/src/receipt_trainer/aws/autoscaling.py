"""The worker's instance in its Auto Scaling group: protected while it has a job, ended by the worker itself.

Sources: EC2 Auto Scaling API Reference, SetInstanceProtection, TerminateInstanceInAutoScalingGroup and
CompleteLifecycleAction.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog
from botocore.exceptions import ClientError

from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.client import AutoScalingClient

HOOK_ATTEMPTS: Final = 6
HOOK_WAIT_S: Final = 2.0
"""The hook waits some seconds after the group has decided; then it is notified that there is nothing to wait for."""

_log = structlog.get_logger(__name__)


class GroupMember:
    """One instance of one group, with the group's lifecycle hook on termination; None stands for one without a
    group."""

    def __init__(
        self,
        client: AutoScalingClient,
        group: str,
        instance_id: str,
        *,
        hook: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._group, self._instance_id, self._hook = client, group, instance_id, hook
        self._sleep = sleep
        self._is_protected: bool | None = None

    def protect(self, wanted: bool) -> None:
        """Keep the group's scaling-in from this instance, or let it; a fault is said in the log."""
        if wanted == self._is_protected:
            return
        try:
            with aws_faults("protect the instance"):
                self._client.set_instance_protection(
                    InstanceIds=[self._instance_id], AutoScalingGroupName=self._group, ProtectedFromScaleIn=wanted
                )
        except (UserError, WorldError) as error:
            _log.warning("the instance's protection was not changed", wanted=wanted, error=str(error))
            return
        self._is_protected = wanted

    def is_stopped(self) -> bool:
        """Whether the group may have no instance at all; False, and said in the log, where it cannot be asked."""
        try:
            with aws_faults("look at the group"):
                found = self._client.describe_auto_scaling_groups(AutoScalingGroupNames=[self._group])
        except (UserError, WorldError) as error:
            _log.warning("the group's bounds are not known", error=str(error))
            return False
        return any(group["MaxSize"] == 0 for group in found["AutoScalingGroups"])

    def end(self, *, replace: bool) -> bool:
        """End this instance; False if the group must keep it, being as small as it may be.

        One that is no longer a member has left the group with or without this worker: nothing is left to be done.

        Args:
            replace: the group launches another one; otherwise its desired capacity goes down by one.
        """
        with aws_faults("end the instance"):
            try:
                self._client.terminate_instance_in_auto_scaling_group(
                    InstanceId=self._instance_id, ShouldDecrementDesiredCapacity=not replace
                )
            except ClientError as error:
                if not replace and _refuses(error, "minsize"):
                    return False
                if not _refuses(error, "notfound"):
                    raise
                _log.warning("the instance is no member of the group any more", group=self._group)
                return True
        self.complete_hook()
        return True

    def complete_hook(self) -> None:
        """Nothing is left to wait for: without this, the hook keeps the instance, and its price, for minutes."""
        if self._hook is None:
            return
        for attempt in range(HOOK_ATTEMPTS):
            try:
                with aws_faults("complete the lifecycle hook"):
                    self._client.complete_lifecycle_action(
                        LifecycleHookName=self._hook,
                        AutoScalingGroupName=self._group,
                        LifecycleActionResult="CONTINUE",
                        InstanceId=self._instance_id,
                    )
            except (UserError, WorldError) as error:
                if attempt + 1 == HOOK_ATTEMPTS:
                    _log.warning("the lifecycle hook will wait for its time", error=str(error))
                else:
                    self._sleep(HOOK_WAIT_S)
            else:
                return


def _refuses(error: ClientError, words: str) -> bool:
    """Whether Auto Scaling says so, in any case and with or without spaces, as its reason to refuse."""
    said = error.response["Error"]
    return said["Code"] == "ValidationError" and words in said.get("Message", "").lower().replace(" ", "")
