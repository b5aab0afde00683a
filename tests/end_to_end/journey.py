"""The first hour of a stack on an account: up, a job, an interruption, the job to its end, and everything away again.

Whatever happens, what was stood up is destroyed; what destroying leaves is named, with the command that removes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from tests.end_to_end.meter import Meter, Sight

LIMITS_S: Final = {
    "the first checkpoint": 2400.0,
    "the job is handed back": 900.0,
    "the job is done": 3600.0,
    "the idle worker is gone": 1800.0,
    "nothing is left": 900.0,
}
"""Of what is waited for. A boot that installs takes up to half an hour, an idle worker goes after ten minutes."""


class JourneyError(Exception):
    """The stack did not do what it should, in one line."""


class OverspentError(JourneyError):
    """The next minutes would cost more than was allowed."""


class LeftBehindError(JourneyError):
    """Something that costs is still there; the message says what, and how it goes."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that costs, and the command that removes it."""

    kind: str
    name: str
    command: str


@dataclass(frozen=True, slots=True)
class JobNow:
    """A job at one moment: its attempts as in `job-details --json`, and the steps of its checkpoints."""

    status: str
    reason: str
    attempts: Sequence[dict[str, Any]]
    checkpoints: Sequence[int]

    def describe(self) -> str:
        """For a line of progress."""
        last = f", attempt {len(self.attempts)} on {self.attempts[-1]['instance_id']}" if self.attempts else ""
        saved = f", a checkpoint of step {max(self.checkpoints)}" if self.checkpoints else ""
        return f"the job is {self.status}{last}{saved}"


class Account(Protocol):
    """What a journey asks of an account; every method may raise, and none is tried again by the journey."""

    def preflight(self) -> str:
        """Look, and create nothing; says whose account it is and where. Raises JourneyError if it should not begin."""

    def up(self) -> str:
        """Stand the stack up; says what stands."""

    def fill(self) -> str:
        """Import receipts."""

    def submit(self) -> str:
        """Queue the job; its id."""

    def sights(self) -> list[Sight]:
        """The stack's instances that cost now."""

    def job(self, job_id: str) -> JobNow:
        """The job now."""

    def interrupt(self, instance_id: str) -> str:
        """Have AWS, or somebody, take the instance from its worker; says how."""

    def results(self, job_id: str) -> tuple[str, list[str]]:
        """Read everything back: what there is in one line, and what is wrong with it."""

    def destroy(self) -> None:
        """Take away all that `up`, `fill` and `interrupt` made. May be called again, and after half an `up`."""

    def leftovers(self) -> list[Leftover]:
        """What the account has of this stack that costs."""

    def by_hand(self) -> list[str]:
        """The lines to type if `destroy` does not get through."""


class Journey:
    """One journey; `run` is called once."""

    def __init__(
        self,
        account: Account,
        max_usd: float,
        *,
        say: Callable[[str], None],
        poll_s: float = 20.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin to reckon.

        Args:
            max_usd: the spending at which it turns back.
            say: takes lines of progress.
            poll_s: seconds between two looks at the account while it waits.
        """
        self._account, self._say_line, self._poll_s, self._clock, self._sleep = account, say, poll_s, clock, sleep
        self._started_at = clock()
        self.meter = Meter(max_usd, self._started_at)
        self._said = ""

    def run(self) -> None:
        """Go there and back.

        Raises:
            JourneyError: the stack failed, or the limit was reached; all is destroyed.
            LeftBehindError: something is left; the last lines that were said name it.
            BaseException: as the account raised it, KeyboardInterrupt too; all is destroyed.
        """
        self._say(self._account.preflight())
        try:
            self._go()
        except BaseException as error:
            self._say(f"turning back: {type(error).__name__}: {error}".rstrip(": "))
            raise
        finally:
            self._go_back()
        self._say("done: nothing that costs is left")

    def _go(self) -> None:
        account = self._account
        self._say("pulumi up, some minutes")
        self._say(account.up())
        self._look()
        self._say(account.fill())
        job_id = account.submit()
        self._say(f"job {job_id} is queued")
        now = self._wait("the first checkpoint", job_id, lambda job: bool(job.checkpoints))
        first = now.attempts[-1]["instance_id"]
        self._say(account.interrupt(first))
        self._wait("the job is handed back", job_id, lambda job: job.attempts[0]["outcome"] is not None)
        self._wait("the job is done", job_id, lambda job: job.status == "SUCCEEDED")
        said, problems = account.results(job_id)
        self._say(said)
        if problems:
            raise JourneyError("; ".join(problems))
        self._until("the idle worker is gone", lambda: not self._look())

    def _wait(self, what: str, job_id: str, holds: Callable[[JobNow], bool]) -> JobNow:
        """Until it holds of the job.

        Raises:
            JourneyError: the job has ended otherwise, or it takes too long.
        """
        found: list[JobNow] = []

        def look() -> bool:
            instances, job = self._look(), self._account.job(job_id)
            found.append(job)
            self._say(f"{job.describe()}; instances: {', '.join(sight.instance_id for sight in instances) or 'none'}")
            if holds(job):
                return True
            if job.status in ("FAILED", "CANCELLED", "SUCCEEDED"):
                raise JourneyError(f"before {what}: the job is {job.status}: {job.reason or 'no reason is known'}")
            return False

        self._until(what, look)
        return found[-1]

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        until = self._clock() + LIMITS_S[what]
        while not holds():
            if self._clock() >= until:
                raise JourneyError(f"{what}: not within {LIMITS_S[what] / 60:.0f} minutes")
            self._sleep(self._poll_s)

    def _look(self) -> list[Sight]:
        """What costs now.

        Raises:
            OverspentError: the limit is near.
        """
        sights = self._account.sights()
        self.meter.look(sights, self._clock())
        if self.meter.is_over:
            raise OverspentError(f"{self.meter} is spent, and the way back costs something too")
        return sights

    def _go_back(self) -> None:
        self._say("destroying the stack, some minutes")
        try:
            self._account.destroy()
            left: list[Leftover] = []

            def look() -> bool:
                left[:] = self._account.leftovers()
                return not left

            try:
                self._until("nothing is left", look)
            except JourneyError:
                raise LeftBehindError(self._listed(left)) from None
        except LeftBehindError:
            raise
        except BaseException as error:
            self._say(f"destroying failed: {error}")
            raise LeftBehindError(self._listed(self._leftovers_at_last())) from error
        finally:
            self.meter.look([], self._clock())
            self._say(f"spent {self.meter}")

    def _leftovers_at_last(self) -> list[Leftover]:
        try:
            return self._account.leftovers()
        except Exception as error:
            self._say(f"what is left cannot be seen: {error}")
            return []

    def _listed(self, left: Sequence[Leftover]) -> str:
        lines = ["the stack is not destroyed. Try this first:", *self._account.by_hand()]
        if left:
            lines += ["what is left and costs, with what removes it:"]
            lines += [f"{one.kind} {one.name}: {one.command}" for one in left]
        for line in lines:
            self._say(line)
        return "\n".join(lines)

    def _say(self, text: str) -> None:
        """With the time and the dollars so far; what was said last is not said again."""
        if text != self._said:
            minutes, seconds = divmod(int(self._clock() - self._started_at), 60)
            self._say_line(f"{minutes:3d}:{seconds:02d}  ${self.meter.spent_usd:.2f}  {text}")
            self._said = text
