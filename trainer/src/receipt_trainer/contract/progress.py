"""What a run says of its own progress, so that whoever started it can tell slow from stuck."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Hears of progress; returns at once and never raises."""

    def moved(self, doing: str, quiet_s: float) -> None:
        """The run got on with `doing`; for `quiet_s` seconds, if that is long, it may say nothing."""


_listeners: list[Listener] = []


def listen(listener: Listener | None) -> None:
    """Whom this process tells from now on; None: nobody, as at the start."""
    _listeners[:] = [listener] if listener is not None else []


def report_progress(doing: str, *, quiet_s: float = 0.0) -> None:
    """Say that the run got on. Costs microseconds, so it may be said at every batch; without a listener it is nothing.

    Args:
        doing: what it was, in a few words such as "step 12".
        quiet_s: seconds that what begins now may take without a word, where something else bounds it.
    """
    for listener in _listeners:
        listener.moved(doing, quiet_s)
