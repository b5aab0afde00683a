"""`receipt-trainer watch`, over the wire, and on a real terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click
import pytest
from rich.console import Console

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli.commands import jobs as commands
from receipt_trainer.cli.render.watch import PROGRESS_EVERY_S, LineScreen, whole_view
from receipt_trainer.contract.tables import iso
from receipt_trainer.errors import WorldError
from receipt_trainer.jobs.metrics_writer import JobStore
from receipt_trainer.jobs.views import MAX_FAULTS, JobView, LiveJob, follow_job
from tests.cli.jobs import NOON, Caller, add_job, register
from tests.jobs.test_live import Clock, add_attempt
from tests.waiting import TIMEOUT_S

PROGRAM = [sys.executable, "-m", "receipt_trainer", "watch"]
SPEC = json.dumps({"training_config": {"num_epochs": 10}})


def add_running(table: str, **attributes: Any) -> str:
    """A job in its second attempt, with curves, a rate of two steps a second, dollars and a log."""
    known = {"status": "RUNNING", "attempt": 2, "spec": SPEC, "name": "seven-labels"}
    job_id = add_job(table, **(known | attributes))
    clock = Clock(NOON)
    store = JobStore(Table(clients.dynamodb(), table), job_id, attempt=2, clock=clock)
    store.log("info", "training from step 20 of 500")
    store.log("warning", "\x1b[31mred\x1b[0m and\nlong " + "x" * 300)
    for step in range(22, 122, 2):
        store.metric("loss", 50 / step, step=step, epoch=step / 50)
    for step in (50, 100):
        store.metric("eval_f1", step / 125, step=step, epoch=step / 50)
    store.metric("learning_rate", 2.5e-5, step=120, epoch=2.4)
    store.close()
    price, place = {"price_usd_per_h": 3.6}, {"worker_id": "i-0abc-77", "instance_type": "g5.xlarge"}
    ended = {"outcome": "interrupted", "reason": "spot notice: terminate", "ended_at": iso(NOON + timedelta(minutes=1))}
    add_attempt(table, job_id, 1, checkpoint_step=20, **ended, **price, **place)
    started = iso(NOON + timedelta(minutes=2))
    add_attempt(table, job_id, 2, start_step=20, started_at=started, **price, **place)
    return job_id


def look(table: str, job_id: str) -> JobView:
    """The job four minutes after noon."""
    return LiveJob(Table(clients.dynamodb(), table), job_id).look(NOON + timedelta(minutes=4))


def drawn(view: JobView, width: int, height: int) -> str:
    """What a terminal of this size shows, as text."""
    console = Console(width=width, height=height, record=True, force_terminal=True, file=io.StringIO())
    console.print(whole_view(view, width, height))
    return console.export_text()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40), (50, 20), (30, 10)])
def test_the_view_fits_the_screen(jobs_table: str, width: int, height: int) -> None:
    """On screens of any size nothing is wider or higher than the screen, and what matters most is on top."""
    view = look(jobs_table, add_running(jobs_table))
    lines = drawn(view, width, height).splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("seven-la")
    assert lines[1].startswith("RUNNING · attempt 2 · ")
    assert "step 120 of 500" in lines[2]


def test_the_view_of_an_ordinary_terminal(jobs_table: str) -> None:
    """80 by 24 has state, place, time, dollars, progress, both curves, both attempts with the reason, and the log."""
    view = look(jobs_table, add_running(jobs_table))
    text = drawn(view, 80, 24)
    for words in (
        *("RUNNING · attempt 2 · i-0abc-77 · g5.xlarge · 3 min 00 s · $0.18", "2 steps/s · 3 min 10 s left"),
        *("lr 2.5e-05", "training loss 0.4167", "validation F1 0.8000", "attempts (2)", "from step 20"),
        *("interrupted · 1 min 00 s · to step 20 · spot notice: terminate", "training from step 20 of 500"),
    ):
        assert words in text, f"{words}\n{text}"
    assert "\x1b[31m" not in text
    assert re.search("[\u2801-\u28ff]", text)


def test_once_shows_the_newest_running_job(jobs_table: str, call: Caller) -> None:
    """Without a JOB it is the newest one that runs; where none does, one that waits; where none is, that is said."""
    refused = call("watch", "--once")
    assert refused.code == 2
    assert "no job runs or waits" in refused.err
    add_job(jobs_table, name="waits", minutes=9)
    assert "waits in its queue" in call("watch", "--once").out
    add_running(jobs_table, minutes=1, name="older")
    add_running(jobs_table, minutes=2, name="newer")
    said = call("watch", "--once")
    assert said.code == 0, said.err
    assert said.out.startswith("newer")


def test_a_waiting_job_says_what_it_waits_for(jobs_table: str, instances_table: str, call: Caller) -> None:
    """How many jobs of its pool go first, those of high priority among them, and whether a worker can take one."""
    now = utc_now()
    add_job(jobs_table, name="first", minutes=1)
    add_job(jobs_table, name="another-pool", minutes=1, pool="cpu")
    mine = add_job(jobs_table, name="mine", minutes=2)
    add_job(jobs_table, name="urgent", minutes=3, priority="high")
    add_job(jobs_table, name="later", minutes=4)
    register(instances_table, "i-cpu", status="IDLE", heartbeat_at=iso(now), pool="cpu")
    register(instances_table, "i-silent", status="IDLE", heartbeat_at=iso(now - timedelta(minutes=9)), pool="gpu")
    nobody = "waits in its queue: 2 jobs ahead; no worker is running: receipt-trainer fleet shows it"
    assert nobody in call("watch", "--once", mine).out
    register(instances_table, "i-any", status="RUNNING", heartbeat_at=iso(now))
    assert "waits in its queue: 2 jobs ahead; 1 worker there" in call("watch", "--once", mine).out
    assert "waits in its queue: 0 jobs ahead; 1 worker there" in call("watch", "--once", "urgent").out


def test_a_pipe_is_told_what_a_job_waits_for(jobs_table: str, instances_table: str, call: Caller) -> None:
    """Not only that it waits."""
    add_job(jobs_table, name="mine")
    said = call("watch", "mine", "--timeout", "1").out
    assert "PENDING · pool gpu · 0 jobs ahead; no worker is running: receipt-trainer fleet shows it" in said


def test_json_is_an_object_a_look(jobs_table: str, call: Caller) -> None:
    """--json --once prints one object with state, pace, cost, attempts, last values and log."""
    job_id = add_running(jobs_table)
    said = call("watch", "--once", "--json", job_id).json
    assert (said["job_id"], said["status"], said["pace"]["step"], said["pace"]["num_steps"]) == (
        job_id,
        "RUNNING",
        120,
        500,
    )
    assert said["last_metrics"]["eval_f1"]["value"] == pytest.approx(0.8)
    assert [row["attempt"] for row in said["attempts"]] == [1, 2]
    assert said["log"][0]["message"] == "training from step 20 of 500"


@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 1)])
def test_the_exit_code_says_how_the_job_ended(jobs_table: str, call: Caller, status: str, code: int) -> None:
    """Of an ended job all is shown, line by line as there is no terminal, and the exit code is 0 only for success."""
    job_id = add_running(jobs_table, status=status, reason="no such table" if status == "FAILED" else None)
    said = call("watch", job_id)
    assert said.code == code
    assert f"{status} · attempt 2" in said.out
    assert "training from step 20 of 500" in said.out
    assert "step 120 of 500" in said.out
    assert ("no such table" in said.err) == (status == "FAILED")


class Shown:
    """A screen that keeps what it is given."""

    def __init__(self) -> None:
        self.views: list[JobView] = []
        self.notes: list[str] = []

    def show(self, view: JobView) -> None:
        self.views.append(view)

    def note(self, text: str) -> None:
        self.notes.append(text)


class Looks:
    """A `LiveJob` of which some looks fail, and a clock that its sleeps move."""

    def __init__(self, view: JobView, *, faults: Callable[[int], bool] = lambda number: False) -> None:
        self.view, self.faults = view, faults
        self.num, self.clock_s, self.slept = 0, 0.0, list[float]()

    def look(self, now: Any) -> JobView:
        self.num += 1
        if self.faults(self.num):
            raise WorldError("throttled")
        return self.view

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock_s += seconds

    def follow(self, screen: Any, **more: Any) -> JobView | None:
        live: Any = self
        return follow_job(live, screen, monotonic=lambda: self.clock_s, sleep=self.sleep, **more)


def test_watching_is_bounded(jobs_table: str) -> None:
    """It looks every so many seconds and not beyond its time, and then gives the view of a job that still runs."""
    looks, screen = Looks(look(jobs_table, add_running(jobs_table))), Shown()
    view = looks.follow(screen, interval_s=2.0, timeout_s=5.0)
    assert looks.slept == [2.0, 2.0, 1.0]
    assert len(screen.views) == 4
    assert view is not None
    with pytest.raises(click.exceptions.Exit) as end:
        commands.conclude("j", view)
    assert end.value.exit_code == 1


def test_a_short_fault_does_not_end_it(jobs_table: str) -> None:
    """Looks that fail are said and tried again; as many in a row as the bound end it."""
    view = look(jobs_table, add_running(jobs_table))
    looks, screen = Looks(view, faults=lambda number: number in (2, 3)), Shown()
    looks.follow(screen, interval_s=1.0, timeout_s=5.0)
    assert screen.notes == ["throttled"] * 2
    looks, screen = Looks(view, faults=lambda number: number > 1), Shown()
    with pytest.raises(WorldError):
        looks.follow(screen, interval_s=1.0, timeout_s=60.0)
    assert looks.num == 1 + MAX_FAULTS


def test_lines_say_what_is_new_and_no_more(jobs_table: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal a second look at the same says nothing, and progress comes at most every half minute."""
    job_id = add_running(jobs_table)
    live, screen = LiveJob(Table(clients.dynamodb(), jobs_table), job_id), LineScreen(Console(width=200))
    later = NOON + timedelta(minutes=4)
    for seconds, words in ((0, "step 120"), (2, ""), (4, ""), (PROGRESS_EVERY_S + 1, "step 124")):
        if seconds == 4:
            store = JobStore(
                Table(clients.dynamodb(), jobs_table), job_id, attempt=2, first_seq=900, clock=Clock(later)
            )
            store.metric("loss", 1.0, step=124, epoch=2.48)
            store.close()
        screen.show(live.look(NOON + timedelta(minutes=4, seconds=seconds)))
        out = capsys.readouterr().out
        assert (words in out) if words else not out, (seconds, out)


class Terminal:
    """A command on a pseudo-terminal of 80 by 24."""

    def __init__(self, *command: str) -> None:
        self._master, slave = pty.openpty()
        self.resize(80, 24)
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONUNBUFFERED": "1"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment
        )
        os.close(slave)
        self.text = ""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def read_until(self, words: str) -> None:
        while words not in self.text:
            assert select.select([self._master], [], [], TIMEOUT_S)[0], self.text
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # Linux says so when the other end is closed
                piece = b""
            assert piece or words in self.text, self.text
            self.text += piece.decode("utf-8", "replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def test_the_terminal_is_given_back(jobs_table: str) -> None:
    """On a terminal the view has the second screen, also after a change of width; Ctrl-C leaves it, with exit code 130.

    The cursor is shown again, and the last view stays in the scroll-back.
    """
    job_id = add_running(jobs_table)
    terminal = Terminal(*PROGRAM, job_id, "--interval", "0.5")
    try:
        terminal.read_until("training from step 20")
        assert terminal.text.startswith("\x1b[?1049h")
        terminal.resize(60, 20)
        terminal.text = ""
        terminal.read_until("training from step 20")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until("continues")
        assert terminal.process.wait(TIMEOUT_S) == commands.EXIT_STOPPED
    finally:
        terminal.close()
    left = terminal.text.rpartition("\x1b[?1049l")
    assert left[1]
    assert "\x1b[?25h" in terminal.text
    assert "\x1b[?25l" not in left[2]
    assert "seven-labels" in left[2]
    assert f"no longer watched; job {job_id} continues" in left[2].replace("\r\n", "")
    assert "Traceback" not in terminal.text
