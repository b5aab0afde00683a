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
    with listen(stop, insist={insist}):
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
    ("insist", "deferred", "said", "code"),
    [
        (True, False, f"interrupted by {signal.SIGTERM:d}", -signal.SIGTERM),
        (True, True, f"at once by {signal.SIGINT:d}", -signal.SIGTERM),
        (False, False, f"interrupted by {signal.SIGTERM:d}", 75),
        (False, True, f"asked by {signal.SIGINT:d}", 75),
    ],
)
def test_what_signals_do_to_a_run(insist: bool, deferred: bool, said: str, code: int) -> None:
    """Where nothing is lost a signal ends the run at once; else the second one does, if whoever started it insists.

    A worker's child is asked as often as one likes, and what it exits with is not changed by a signal that comes late.
    """
    program = PROGRAM.format(insist=insist, deferred=deferred)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == (said, code), done.stderr
