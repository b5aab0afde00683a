"""The way from workers to the embedded AWS, which can be cut, and of which every request and answer is seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tests import fault_proxy
from tests.fault_proxy import BrokenConnectionError, Proxy, Reply, Request

MAX_STALL_S = 60.0

Mode = Literal["open", "refuse", "reset", "stall", "throttle"]
GroupMode = Literal["open", "refuse", "reset"]
"""What is done to requests to Auto Scaling alone."""
Verdict = Literal["pass", "drop request", "drop answer", "fail", "refuse"]
"""fail: S3's 503; refuse: its AccessDenied."""

_OF_GROUPS = frozenset(
    {
        "DescribeAutoScalingGroups",
        "SetInstanceProtection",
        "TerminateInstanceInAutoScalingGroup",
        "CompleteLifecycleAction",
    }
)
_XML = [("Content-Type", "application/xml")]
_DENIED = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>"
_SLOW = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_REFUSED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_OF_S3 = {"fail": Reply(503, _XML, _SLOW), "refuse": Reply(403, _XML, _REFUSED)}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, with its answer once there is one.

    Attributes:
        operation: such as ReceiveMessage; of S3 HTTP's, such as PUT.
        path: HTTP's.
        sent: the request's JSON.
        got: the answer's JSON; None before the request is passed on.
        status: HTTP's; 0 before.
        at: seconds of the epoch.
    """

    operation: str
    sent: dict[str, Any]
    got: dict[str, Any] | None
    status: int
    at: float
    path: str = ""


Watch = Callable[[Exchange], Verdict]
"""Called before a request is passed on, and with its answer; says what becomes of it."""


class TcpProxy(Proxy):
    """`mode` is what it does to all of its connections."""

    def __init__(self, target: str, watch: Watch) -> None:
        self._watch = watch
        self._mode: Mode = "open"
        self._group_mode: GroupMode = "open"
        self.num_of_group_refused = 0
        self._changed = threading.Condition()
        super().__init__(target)

    def set_mode(self, mode: Mode) -> None:
        """From now on; a refused address is closed, and what is connected breaks."""
        with self._changed:
            before, self._mode = self._mode, mode
            self._changed.notify_all()
        if mode == "refuse" and before != "refuse":
            self.close()
        elif mode != "refuse" and before == "refuse":
            self.open()

    def set_group_mode(self, mode: GroupMode) -> None:
        """From now on; of requests to Auto Scaling."""
        with self._changed:
            self._group_mode = mode

    def before(self, request: Request) -> Reply | None:
        """Cut the way, or what the watch says."""
        with self._changed:
            if self._mode == "refuse":
                raise BrokenConnectionError
            if self._mode == "stall":
                self._changed.wait_for(lambda: self._mode != "stall", MAX_STALL_S)
                raise BrokenConnectionError
            mode, group_mode = self._mode, self._group_mode
            if request.operation in _OF_GROUPS and group_mode != "open":
                self.num_of_group_refused += 1
        if request.operation in _OF_GROUPS and group_mode != "open":
            if group_mode == "reset":
                raise BrokenConnectionError
            return Reply(403, _XML, _DENIED)
        if mode == "throttle" and request.headers.get("X-Amz-Target", "").startswith("DynamoDB"):
            return fault_proxy.reply(fault_proxy.THROTTLED)
        verdict = self._watch(Exchange(request.operation, request.json(), None, 0, time.time(), request.path))
        if verdict not in ("pass", *_OF_S3):
            raise BrokenConnectionError
        return _OF_S3.get(verdict)

    def after(self, request: Request, reply: Reply) -> None:
        """What was asked is done; its answer may be lost."""
        got = fault_proxy.as_object(reply.body)
        seen = Exchange(request.operation, request.json(), got, reply.status, time.time(), request.path)
        if self._watch(seen) != "pass":
            raise BrokenConnectionError
        with self._changed:
            if self._mode == "reset":
                raise BrokenConnectionError(reply)
