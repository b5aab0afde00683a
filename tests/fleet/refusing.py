"""An Auto Scaling client that refuses."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError


class Refusing:
    """A real client that answers chosen requests with an error, as AWS does and the embedded one does not."""

    def __init__(self, real: Any, refusals: dict[str, tuple[str, str]]) -> None:
        self._real, self._refusals = real, refusals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def terminate_instance_in_auto_scaling_group(self, **asked: Any) -> Any:
        self._refuse(asked["InstanceId"])
        return self._real.terminate_instance_in_auto_scaling_group(**asked)

    def update_auto_scaling_group(self, **asked: Any) -> Any:
        self._refuse(asked["AutoScalingGroupName"])
        return self._real.update_auto_scaling_group(**asked)

    def set_desired_capacity(self, **asked: Any) -> Any:
        self._refuse(asked["AutoScalingGroupName"])
        return self._real.set_desired_capacity(**asked)

    def _refuse(self, name: str) -> None:
        if name in self._refusals:
            code, message = self._refusals[name]
            raise ClientError({"Error": {"Code": code, "Message": message}}, "Request")
