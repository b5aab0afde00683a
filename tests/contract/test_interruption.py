from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from receipt_trainer.contract.interruption import Interrupted, StopRequest, listen

stop = StopRequest()
try:
    with listen(stop, insist={insist}, clock=iter({times}).__next__):
        if {deferred}:
            stop.defer()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        print(f"asked by {{stop.signal}}", flush=True)
except Interrupted:
    print(f"interrupted by {{stop.signal}}", flush=True)
except KeyboardInterrupt:
    print(f"at once by {{stop.signal}}", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
sys.exit(75)
"""


@pytest.mark.parametrize(
    ("insist", "deferred", "after_s", "said", "code"),
    [
        (True, False, 1, f"interrupted by {signal.SIGTERM:d}", -signal.SIGTERM),
        (True, True, 1, f"at once by {signal.SIGINT:d}", -signal.SIGTERM),
        (True, True, 0.9, f"asked by {signal.SIGTERM:d}", -signal.SIGTERM),
        (False, False, 1, f"interrupted by {signal.SIGTERM:d}", 75),
        (False, True, 1, f"asked by {signal.SIGINT:d}", 75),
    ],
)
def test_what_signals_do_to_a_run(insist: bool, deferred: bool, after_s: float, said: str, code: int) -> None:
    """Where nothing is lost a signal ends the run at once; else the second one does, if whoever started it insists.

    One that comes within a second is the first one again, as make and torchrun send it beside the terminal. A worker's
    child is asked as often as one likes, and what it exits with is not changed by a signal that comes late.
    """
    program = PROGRAM.format(insist=insist, deferred=deferred, times=[0, after_s])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == (said, code), done.stderr
