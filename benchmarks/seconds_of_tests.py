"""A plugin of pytest: CPU seconds of each test with all processes that it starts, and how long all of them slept.

    mkdir /sys/fs/cgroup/tests && echo $$ >/sys/fs/cgroup/tests/cgroup.procs    # as root, in this shell
    TEST_CGROUP=/sys/fs/cgroup/tests python -m pytest -p benchmarks.seconds_of_tests tests/worker

A cgroup (version 2) counts fork servers and what they fork, which are nobody's children. Asleep is the time in which
none of them ran or waited for a CPU, also on a loaded machine: what a further process of tests would fill. A CPU that
many share is slower: compare what ran in the same minutes.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import pytest

GROUP = Path(os.environ["TEST_CGROUP"])
NUM_SHOWN = 25


class Seconds(NamedTuple):
    """Of a test, or since the machine's start.

    Attributes:
        cpu: of all processes together.
        starved: in which one at least waited for a CPU.
        wall: by the clock.
    """

    cpu: float
    starved: float
    wall: float

    @property
    def asleep(self) -> float:
        """At least so long nothing ran."""
        return max(0.0, self.wall - self.cpu - self.starved)


def now() -> Seconds:
    """What the kernel has counted so far."""
    used = (GROUP / "cpu.stat").read_text().split()[1]
    starved = (GROUP / "cpu.pressure").read_text().splitlines()[0].rpartition("=")[2]
    return Seconds(int(used) / 1e6, int(starved) / 1e6, time.monotonic())


_spent: dict[str, Seconds] = {}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Set-up, call and teardown."""
    before = now()
    try:
        return (yield)
    finally:
        _spent[item.nodeid] = Seconds(*(after - first for after, first in zip(now(), before, strict=True)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Folders, then the tests that take most, longest first."""
    folders: dict[str, list[Seconds]] = defaultdict(list)
    for name, spent in _spent.items():
        folders["/".join(name.partition("::")[0].split("/")[:2])].append(spent)
    show = terminalreporter.write_line
    show(f"{'CPU s':>8}{'asleep s':>10}")
    for folder, found in sorted(folders.items()):
        show(f"{sum(one.cpu for one in found):8.1f}{sum(one.asleep for one in found):10.1f}  {folder} ({len(found)})")
    for name, spent in sorted(_spent.items(), key=lambda one: -one[1].cpu - one[1].asleep)[:NUM_SHOWN]:
        show(f"{spent.cpu:8.1f}{spent.asleep:10.1f}  {name}")
