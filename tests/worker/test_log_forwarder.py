from __future__ import annotations

import io
import threading
from typing import Any

from receipt_trainer.contract.sinks import NoMetrics
from receipt_trainer.worker.log_forwarder import BURST, LINES_PER_S, MAX_LINE, TAIL_LINES, LogForwarder, close_in_time
from tests.waiting import TIMEOUT_S


class Log(NoMetrics):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, level: str, message: str) -> None:
        self.lines.append(message)


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def read(content: bytes, **arguments: Any) -> list[str]:
    """What reaches the log of a stream."""
    log = Log()
    LogForwarder(log, **{"echo": io.StringIO(), "clock": lambda: 0.0} | arguments).read(io.BytesIO(content))
    return log.lines


def test_every_line_is_kept_as_it_comes_and_passed_on() -> None:
    """A traceback stands in the log line by line, its indents included; empty lines are left out."""
    echo = io.StringIO()
    lines = read(b"Traceback:\n  File x\n\nValueError: n\xc3\xb6\n", echo=echo)
    assert lines == ["Traceback:", "  File x", "ValueError: nö"]
    assert echo.getvalue() == "Traceback:\n  File x\nValueError: nö\n"


def test_a_flood_is_cut_in_the_middle_and_its_end_is_kept() -> None:
    """Of 10,000 warnings and an error the log has the first ones, how many are left out, and the last ones."""
    lines = read(b"".join(b"warning %d\n" % n for n in range(10_000)) + b"error: the end\n")
    left_out = 10_001 - BURST - TAIL_LINES
    assert lines[:BURST] == [f"warning {n}" for n in range(BURST)]
    assert lines[BURST] == f"... {left_out} lines left out ..."
    assert len(lines) == BURST + 1 + TAIL_LINES
    assert lines[-1] == "error: the end"


def test_a_flood_that_goes_on_is_kept_at_its_rate() -> None:
    """A thousand lines a second for a minute: the log grows by its rate and no more, and says what it leaves out."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.001
        return now

    lines = read(b"line\n" * 60_000, clock=clock)
    assert len(lines) <= BURST + 60 * LINES_PER_S + TAIL_LINES + 2
    left_out = [int(line.split()[1]) for line in lines if "left out" in line]
    assert len(lines) - len(left_out) + sum(left_out) == 60_000


def test_lines_that_come_slowly_are_all_kept() -> None:
    """What the rate admits is never left out, however long it goes on."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1 / LINES_PER_S
        return now

    assert len(read(b"line\n" * 3000, clock=clock)) == 3000


def test_nothing_that_fails_holds_up_who_speaks() -> None:
    """A full disk behind the echo, a line without an end, bytes that are no text: the stream is read to its end."""
    bar = b"\r".join(b"%d %%" % n for n in range(100))
    lines = read(bar + b"\n" + b"x" * (3 * MAX_LINE) + b"\n\xff\xfe\nlast\n", echo=FullDisk())
    assert lines[0] == "99 %"
    assert lines[-1] == "last"
    assert max(map(len, lines)) <= MAX_LINE


def test_a_log_that_cannot_be_closed_is_given_up() -> None:
    """The job's state does not wait for its log."""
    release, ended = threading.Event(), []

    class Stuck(NoMetrics):
        def close(self) -> None:
            ended.append(release.wait(TIMEOUT_S))

    close_in_time(Stuck(), seconds=0.01)
    assert not ended
    release.set()
