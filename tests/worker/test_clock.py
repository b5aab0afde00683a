"""Workers whose clock is wrong: no held job is taken, no lease is written that others take for over."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.aws.server_time import ServerTime
from receipt_trainer.contract.waiting import body_of
from receipt_trainer.worker.interruptions import Interruption
from tests.fault_proxy import Answer, FaultProxy
from tests.waiting import TIMEOUT_S, wait_for
from tests.worker.bench import Bench, Running

QUICK = {"poll_s": 1}
HOUR_S = 3600
AWS_TAKES_S = 300
"""Services refuse a signature that is older or newer."""


def send_stray(bench: Bench, job_id: str) -> None:
    """A second message of the job, which others receive while it is trained."""
    nonce = uuid4().hex
    clients.sqs().send_message(
        QueueUrl=bench.queue_url, MessageBody=body_of(job_id), MessageGroupId=nonce, MessageDeduplicationId=nonce
    )


@pytest.mark.parametrize("skew_s", [HOUR_S, -HOUR_S])
def test_a_worker_with_a_wrong_clock_takes_no_job_that_is_held(bench: Bench, hold: Path, skew_s: int) -> None:
    """It has the job's message, and its clock says that the lease is long over, or has not begun: it is refused."""
    job_id = bench.submit()
    holder = Running(bench.worker("holder"))
    wait_for(hold.exists)
    send_stray(bench, job_id)
    wrong = bench.start("--idle-timeout", "0", skew_s=skew_s, settings=QUICK)
    code, output = wrong.wait(TIMEOUT_S), bench.log_file.read_text()
    assert code == 0, output
    assert "not claimed" in output
    assert "why=leased" in output
    holder.worker.interrupt(Interruption("signal", "SIGTERM"))
    holder.end()
    assert [row["outcome"] for row in bench.attempts(job_id)] == ["INTERRUPTED"]


@pytest.mark.parametrize("skew_s", [HOUR_S, -HOUR_S])
def test_a_job_that_a_worker_with_a_wrong_clock_holds_is_not_taken(bench: Bench, hold: Path, skew_s: int) -> None:
    """Its lease ends when it ends by AWS's clock, and so others are refused until then, and no longer."""
    job_id = bench.submit()
    with bench.start("--idle-timeout", "0", skew_s=skew_s, settings=QUICK) as wrong:
        wait_for(lambda: hold.exists() or wrong.poll() is not None)
        send_stray(bench, job_id)
        bench.worker("honest").run()
        until = bench.table.get(job_id).lease_expires_at
        wrong.send_signal(signal.SIGTERM)
        assert wrong.wait(TIMEOUT_S) == 0, bench.log_file.read_text()
    output = bench.log_file.read_text()
    assert "clock is wrong" in output
    assert until is not None
    assert timedelta(0) < until - datetime.now(UTC) < timedelta(seconds=300)
    assert [row["outcome"] for row in bench.attempts(job_id)] == ["INTERRUPTED"]


@pytest.mark.parametrize("skew_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_aws_refuses_is_said_in_one_line(fault_proxy: FaultProxy, bench: Bench, skew_s: int) -> None:
    """Where signatures are checked, nothing works with such a clock: exit code 2, and the line names the clock."""

    def check(headers: Mapping[str, str]) -> Answer | None:
        signed_at = datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        wrong_s = (datetime.now(UTC) - signed_at).total_seconds()
        if abs(wrong_s) <= AWS_TAKES_S:
            return None
        word = "expired" if wrong_s > 0 else "not yet current"
        return 400, {"__type": "com.amazon.coral.service#InvalidSignatureException", "message": f"Signature {word}: x"}

    fault_proxy.check = check
    job_id = bench.submit()
    wrong = bench.start("--idle-timeout", "0", skew_s=skew_s, settings=QUICK)
    code, output = wrong.wait(TIMEOUT_S), bench.log_file.read_text()
    assert code == 2, output
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("error: ")
    assert "clock" in output.splitlines()[-1]
    assert bench.table.get(job_id).status == "PENDING"


def test_the_servers_time_is_taken_where_the_machines_is_wrong() -> None:
    """Within seconds the machine's own counts; beyond, what was heard and has passed since, also after a jump."""
    began, machine, elapsed = datetime(2026, 11, 27, 12, 0, tzinfo=UTC), [0.0], [0.0]
    clock = ServerTime(lambda: began + timedelta(seconds=machine[0]), lambda: elapsed[0])
    assert clock.now() == began
    clock.hear("no date")
    clock.hear(None)
    clock.hear(format_datetime(began - timedelta(seconds=2), usegmt=True))
    assert clock.now() == began
    machine[0], elapsed[0] = 7200.0, 10.0
    assert clock.now() == began + timedelta(seconds=8)
    machine[0] = -7200.0
    assert clock.now() == began + timedelta(seconds=8)
    machine[0] = 10.0
    assert clock.now() == began + timedelta(seconds=10)
