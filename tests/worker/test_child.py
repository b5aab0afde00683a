from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

from receipt_trainer.worker.child import EXIT_INTERRUPTED, EXIT_LEASE, MAX_REASON, Child, ChildJob, why
from receipt_trainer.worker.log_forwarder import LogForwarder
from tests.waiting import TIMEOUT_S, wait_for


def start(
    program: str, folder: Path, words: LogForwarder | None = None, **values: object
) -> tuple[Child, queue.SimpleQueue[int]]:
    """A child that runs `program`, in Python, with the job file as its argument."""
    job = ChildJob.model_validate(
        {"job_id": "j", "attempt": 1, "spec": {}, "run_dir": folder, "lease_s": 60.0, "jobs_table": "t"} | values
    )
    codes: queue.SimpleQueue[int] = queue.SimpleQueue()
    return Child(job, codes.put, command=(sys.executable, "-I", "-S", "-c", program), words=words), codes


def test_the_job_file_is_for_the_child_alone_and_gone_after_it(tmp_path: Path) -> None:
    """The spec reaches the child whole through a file of mode 0600, which does not outlive it."""
    spec = {"job_name": "ünï", "description": 'a "quoted"\n$(line)'}
    program = """
import json, os, stat, sys
mode = oct(stat.S_IMODE(os.stat(sys.argv[1]).st_mode))
print(json.dumps([mode, sys.argv[1], json.load(open(sys.argv[1]))["spec"]]), file=sys.stderr)
"""
    child, codes = start(program, tmp_path, spec=spec)
    assert codes.get(timeout=TIMEOUT_S) == 0
    mode, name, read = json.loads(child.last_words)
    assert (mode, read) == ("0o600", spec)
    assert not Path(name).exists()


def test_nothing_that_the_child_started_outlives_it(tmp_path: Path) -> None:
    """A process that the child left behind is ended with it: a pipe that both hold comes to its end."""
    program = """
import os, subprocess, sys
subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
"""
    ended = threading.Event()

    class Reader(LogForwarder):
        def read(self, stream: IO[bytes]) -> None:
            super().read(stream)
            ended.set()

    _, codes = start(program, tmp_path, Reader())
    assert codes.get(timeout=TIMEOUT_S) == 0
    assert ended.is_set()


def test_a_request_to_stop_is_a_sigterm_and_its_answer_an_exit_code(tmp_path: Path) -> None:
    """SIGTERM reaches the child's handler; what it exits with is what the worker hears."""
    program = f"""
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit({EXIT_INTERRUPTED}))
print("ready", file=sys.stderr, flush=True)
signal.pause()
"""
    child, codes = start(program, tmp_path)
    while child.last_words != "ready":
        with pytest.raises(queue.Empty):
            codes.get(timeout=0.01)
    child.ask_to_stop()
    assert codes.get(timeout=TIMEOUT_S) == EXIT_INTERRUPTED
    child.ask_to_stop()  # it has ended: nothing happens
    child.extend(5.0)


def test_a_lease_that_is_not_extended_ends_the_real_program(tmp_path: Path) -> None:
    """The training program itself leaves when the lease that it was given is over."""
    program = """
import sys
sys.path[:] = PATHS
from receipt_trainer.worker import main as entry
entry.run_attempt = lambda job, stop: __import__("time").sleep(600)
sys.exit(entry.main(sys.argv[1:]))
""".replace("PATHS", repr(sys.path))
    child, codes = start(program, tmp_path, lease_s=0.2)
    assert codes.get(timeout=TIMEOUT_S) == EXIT_LEASE
    assert "lease" in child.last_words


def test_a_worker_that_does_not_read_holds_no_program_up(tmp_path: Path) -> None:
    """A frozen worker leaves its pipe full: the program that waits to write into it ends all the same with the lease,
    before another worker may have the job."""
    program = f"""
import os, sys
sys.path[:] = {sys.path!r}
from receipt_trainer.worker import main as entry

def fill(job, stop):
    while True:
        os.write(2, b"x" * 65536)

entry.run_attempt = fill
sys.exit(entry.main(sys.argv[1:]))
"""
    thawed = threading.Event()

    class Frozen(LogForwarder):
        def read(self, stream: IO[bytes]) -> None:
            thawed.wait(TIMEOUT_S)

    child, codes = start(program, tmp_path, Frozen(), lease_s=1.0)
    try:
        assert child.join(TIMEOUT_S)
    finally:
        thawed.set()
        child.kill()
    assert codes.get(timeout=TIMEOUT_S) == EXIT_LEASE


def test_a_worker_that_dies_takes_the_program_with_it_in_order(tmp_path: Path) -> None:
    """The end of the worker is a request to stop: the training program exits as if it were interrupted."""
    ended = tmp_path / "code"
    program = f"""
import sys, time
sys.path[:] = {sys.path!r}
from receipt_trainer.worker import main as entry
entry.run_attempt = lambda job, stop: time.sleep(600)
sys.exit(entry.main(sys.argv[1:]))
"""
    watched = f"""
import os, subprocess, sys
code = subprocess.call([sys.executable, "-I", "-S", "-c", {program!r}, *sys.argv[1:]])
with open({str(ended)!r} + ".new", "w") as stream:
    stream.write(str(code))
os.replace({str(ended)!r} + ".new", {str(ended)!r})
"""
    worker = f"""
import sys, time
sys.path[:] = {sys.path!r}
from pathlib import Path
from tests.worker.test_child import start
child, _ = start({watched!r}, Path({str(tmp_path)!r}), lease_s=600.0)
print("started", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.kill()  # its pipe to the child ends with it
    wait_for(ended.exists)
    assert int(ended.read_text()) == EXIT_INTERRUPTED


def test_each_end_has_a_reason_in_one_line(tmp_path: Path) -> None:
    """A mistake is its own line; a fault its exit code or signal and its last words, however long they are."""
    assert why(2, "error: data_config.augment: not a boolean") == "data_config.augment: not a boolean"
    assert why(1, "ValueError: no") == "exit code 1: ValueError: no"
    assert why(-signal.SIGKILL, "") == "killed by SIGKILL (out of memory?)"
    assert why(-signal.SIGSEGV, "") == "killed by SIGSEGV"
    child, codes = start("import sys; sys.stderr.write('x' * 5000 + '\\n\\n'); sys.exit(3)", tmp_path)
    assert codes.get(timeout=TIMEOUT_S) == 3
    assert child.last_words == "x" * MAX_REASON
