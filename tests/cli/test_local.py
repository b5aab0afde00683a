"""`receipt-trainer local` and `--stack local`, as a person types them in several terminals."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.contract.names import ENV_AWS_CLI
from receipt_trainer.local.session import ENV_DIR
from tests.cli.jobs import Caller
from tests.fork_server import Forked, Program
from tests.local.test_emulator import is_running
from tests.strikes import expect, forget
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
JOB = """
job_name: tiny
model: tiny
training_config: {num_epochs: 1000, max_steps: 30, batch_size: 10, precision: fp32, device: cpu, logging_steps: 5}
data_config: {merge_amounts: true, examples: line}
"""


class Terminal:
    """A command that goes on, in a process of its own, and what it has said so far."""

    def __init__(self, process: Forked, log: Path) -> None:
        self.process, self._log = process, log

    @property
    def said(self) -> str:
        return re.sub(r"\x1b\[[\d;]*m", "", self._log.read_text(encoding="utf-8"))

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Until it says so; it must not end before."""
        wait_for(lambda: self.process.poll() is not None or re.search(pattern, self.said))
        found = re.search(pattern, self.said)
        assert found is not None, self.said
        return found

    def end(self) -> str:
        """All that it says until it ends."""
        self.process.wait()
        return self.said


class Laptop:
    """A user's environment, and the commands that the user types: in this process, but for those that go on."""

    def __init__(self, folder: Path, call: Caller, training_command: tuple[str, ...]) -> None:
        self.folder, self.call, self._training_command = folder, call, training_command
        self._terminals: list[Terminal] = []

    def start(self, program: Program, *words: object) -> Terminal:
        log = self.folder / f"terminal-{len(self._terminals)}.log"
        self._terminals.append(Terminal(program.start(words, log), log))
        return self._terminals[-1]

    def start_worker(self, *words: object) -> Terminal:
        options = json.dumps({"command": self._training_command, "settings": {"poll_s": 1}})
        return self.start(Program("start-worker"), options, "--stack", "local", *words)

    def type(self, *words: object, code: int = 0) -> str:
        """What a command says; it must end with `code`."""
        said = self.call(*words)
        assert said.code == code, said.out + said.err
        return said.out + said.err

    def read_until(self, text: str, *words: object) -> None:
        """Start a command that goes on, and end it when it has said so."""
        terminal = self.start(Program("receipt-trainer"), *words)
        terminal.wait_for(re.escape(text))
        terminal.process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End what goes on still."""
        for terminal in self._terminals:
            terminal.process.send_signal(signal.SIGKILL)

    def json(self, *words: object) -> Any:
        return self.call(*words, "--json").json

    def status(self, job: str) -> str:
        return str(self.json("job-status", "--stack", "local", job)["status"])


@pytest.fixture
def laptop(
    call: Caller,
    training_command: tuple[str, ...],
    aws_cli: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Laptop]:
    """A laptop on which nothing runs, before and after; what its user has set for another account leads nowhere."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    ours = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", ENV_DIR: str(tmp_path / "local")}
    elsewhere = {"AWS_PROFILE": "nobody", "JOBS_TABLE_NAME": "another", "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9"}
    path = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), ENV_AWS_CLI: str(aws_cli)}
    for name, value in (ours | elsewhere | path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    opened = Laptop(tmp_path, call, training_command)
    yield opened
    opened.close()
    call("local", "down")


def test_an_interrupted_job_goes_on_with_the_next_worker(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up, a job, a worker, a spot notice in mid-training, another worker, SUCCEEDED, down: nothing is left.

    The notice is the first worker's alone. The training process waits for it, so that it cannot be through before.
    """
    said = laptop.type("local", "up", "--detach", "--receipts", 9, "--program", ROOT)
    assert "9 receipts from the generator" in said
    session = laptop.json("local", "status")
    assert "already" in laptop.type("local", "up", "--program", ROOT, code=2)
    assert "no local worker is running" in laptop.type("local", "interrupt", code=2)
    (laptop.folder / "job.yaml").write_text(f"family: layoutlm\n{JOB}")
    job = laptop.json("submit-job", "--stack", "local", "--config", "job.yaml")
    assert job["pool"] == "gpu"
    held = laptop.folder / "held"
    expect(monkeypatch, "hold", 15, file=held)
    first = laptop.start_worker("--idle-timeout", 0)
    forget(monkeypatch, "hold")
    wait_for(lambda: first.process.poll() is not None or held.exists())
    laptop.read_until("10 of 30 · ", "watch", "--stack", "local", "--interval", 0.5)
    told = laptop.type("local", "interrupt", "--warning", 3600)
    assert "i-local-1" in told
    laptop.read_until("asked for a checkpoint", "logs", "--stack", "local", "--follow", "tiny")
    output = first.end()
    assert first.process.returncode == 0, output
    assert "the worker ended: spot notice" in output
    assert laptop.status("tiny") == "INTERRUPTED"
    second = laptop.start_worker("--idle-timeout", 0)
    watched = laptop.type("watch", "--stack", "local")
    assert "idle for 0 s" in second.end()
    assert "SUCCEEDED · attempt 2" in watched
    shown = laptop.type("watch", "--stack", "local", "tiny", "--once")
    assert "step 30 of 30" in shown
    assert "attempts (2)" in shown
    assert "interrupted" in shown
    assert "spot notice" in shown
    instances = {one["instance_id"]: one for one in laptop.json("instances", "--stack", "local", "--all")}
    assert {name: one["status"] for name, one in instances.items()} == {"i-local-1": "ENDED", "i-local-2": "ENDED"}
    assert {one["price_usd_per_h"] for one in instances.values()} == {None}
    (pool, *_) = laptop.json("fleet", "--stack", "local")["pools"]
    assert pool["spot"] == []  # the emulator's prices are made up
    assert "a local stack has no prices" in pool["spot_fault"]
    details = laptop.json("job-details", "--stack", "local", "tiny")
    saved, resumed = details["attempts"]
    assert saved["checkpoint_step"] == resumed["start_step"] == 15
    steps = [point["step"] for point in details["metrics"]["loss"]]
    assert steps == sorted(set(steps))
    assert set(steps) >= set(range(5, 31, 5))
    assert details["artifacts"].startswith("s3://")
    idle = laptop.start_worker("--checkpoints-dir", "runs")
    wait_for(lambda: laptop.json("instances", "--stack", "local"))  # registered: signals reach it
    assert "ended" in laptop.type("local", "down")
    assert "the worker ended: SIGTERM" in idle.end()
    wait_for(lambda: not is_running(session["pid"]))
    assert not (laptop.folder / "local").exists()
    assert "no local session is running" in laptop.type("jobs", "--stack", "local", code=2)


def test_a_session_that_was_killed_does_not_mislead(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    """After SIGKILL its file is there still: commands say that it has died, a worker of it goes, `down` clears up."""
    laptop.type("local", "up", "--detach", "--receipts", 0, "--program", ROOT)
    session = laptop.json("local", "status")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")  # of the worker, which asks for half a minute otherwise
    worker = laptop.start_worker()
    wait_for(lambda: any(one["alive"] for one in laptop.json("local", "status")["instances"]))
    os.kill(session["pid"], signal.SIGKILL)
    jobs = ("jobs", "--stack", "local")
    wait_for(lambda: laptop.call(*jobs).code == 2)  # the session's lock is held until the last of its threads has ended
    assert f"process {session['pid']} has died" in laptop.type(*jobs, code=2)
    output = worker.end()
    assert worker.process.returncode in (0, 1), output
    assert "no local session is running" in laptop.type("local", "down")
    assert not (laptop.folder / "local").exists()


def test_what_cannot_be_is_one_line(laptop: Laptop) -> None:
    """Without a session every command says what to do; an `up` that fails says why, also with --detach."""
    for words in (
        *(["jobs", "--stack", "local"], ["local", "status"], ["local", "interrupt"], ["local", "env"]),
        ["receipts", "stats", "--stack", "local"],
    ):
        said = laptop.type(*words, code=2)
        assert said == "error: no local session is running; start one with: receipt-trainer local up\n"
    up = ["local", "up", "--program", ROOT, "--data", "none.jsonl", "--detach"]
    assert laptop.type(*up, code=2).splitlines()[-1].startswith("error: none.jsonl: cannot read receipts")
    assert not (laptop.folder / "local").exists()
