"""How a worker goes: its row says why, and its instance, if it is one of a group, is ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import structlog

from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from receipt_trainer.worker.attempt import WorkerParts

ASK_FOR_S: Final = 600.0
"""For how long Auto Scaling is asked to end an instance that it refuses to end, or cannot be reached for."""
ASK_WAIT_S: Final = 10.0
DEREGISTER_TRIES: Final = 3
DEREGISTER_WAIT_S: Final = 2.0
"""Between tries to close the row; each has botocore's own retries inside."""

_log = structlog.get_logger(__name__)


class InstanceNotEndedError(WorldError):
    """Auto Scaling has refused for `ASK_FOR_S` seconds; the process's failure ends the machine.

    systemd does not start a worker again that exits with this code (receipt-worker.service): the unit's failure shuts
    the instance down.
    """

    exit_code = 69  # sysexits' EX_UNAVAILABLE


class Shutdown:
    """Ends one worker's stay. What is said of it, in metrics and in its row, holds up nothing."""

    def __init__(self, parts: WorkerParts) -> None:
        self._member, self._registry, self._outcomes = parts.member, parts.registry, parts.outcomes
        self._clock, self._sleep = parts.clock, parts.sleep
        self._refused_since: float | None = None

    def leave_idle(self, reason: str) -> Literal["left", "kept", "refused"]:
        """End an instance that has nothing to do. Its group may keep it, being as small as it may be.

        "refused": Auto Scaling could not be asked; the worker may take jobs and asks again, InstanceNotEndedError at
        last.
        """
        if self._outcomes is not None:
            self._outcomes.gone()
        try:
            if self._member is not None and not self._member.end(replace=False):
                self._refused_since = None
                return "kept"
        except (UserError, WorldError) as error:
            self._endure(error, reason)
            return "refused"
        self.deregister(reason)
        return "left"

    def stays(self) -> None:
        """It had a job: the next request to end the instance is the first one."""
        self._refused_since = None

    def leave(self, reason: str, *, replace: bool) -> None:
        """End the instance in any case: one that its group must keep is replaced; InstanceNotEndedError: it is refused.

        `replace`: the group launches another one, if it wants as many.
        """
        if self._outcomes is not None:
            self._outcomes.gone()
        self.deregister(reason)  # first: from here on no heartbeat keeps the machine
        while self._member is not None:
            try:
                if not self._member.end(replace=replace):
                    self._member.end(replace=True)
            except (UserError, WorldError) as error:
                self._endure(error, reason)
                self._sleep(ASK_WAIT_S)
            else:
                return

    def leave_to_group(self, reason: str) -> None:
        """The group is ending the instance already, and waits for the worker's word."""
        if self._outcomes is not None:
            self._outcomes.gone()
        if self._member is not None:
            self._member.complete_hook()
        self.deregister(reason)

    def deregister(self, reason: str) -> None:
        """Let the instance's row say that no worker runs there now; the instance itself is left as it is."""
        for attempt in range(DEREGISTER_TRIES):
            if self._registry is None or self._registry.deregister(reason):
                break
            if attempt + 1 < DEREGISTER_TRIES:
                self._sleep(DEREGISTER_WAIT_S)
        _log.info("the worker goes", reason=reason)

    def _endure(self, error: Exception, reason: str) -> None:
        now = self._clock()
        self._refused_since = now if self._refused_since is None else self._refused_since
        if now - self._refused_since >= ASK_FOR_S:
            self.deregister(f"{reason}; its instance is not ended: {error}")
            raise InstanceNotEndedError(f"the worker goes ({reason}); its instance is not ended: {error}") from error
        _log.warning("the instance is not ended; it is asked again", reason=reason, error=str(error))
