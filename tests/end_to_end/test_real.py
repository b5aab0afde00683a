"""The first hour of a stack on a real account, by one command."""

from __future__ import annotations

import os
import secrets

import pytest

from receipt_trainer.local.session import ended_by_signals
from tests.end_to_end.account import StackAccount
from tests.end_to_end.fleet import ROOT
from tests.end_to_end.journey import Journey

ENV = "ENABLE_REAL_AWS_TESTS"


@pytest.mark.timeout(0)  # every step has a limit of its own, and the way back must not be cut off
@pytest.mark.skipif(
    os.environ.get(ENV) != "1",
    reason=f"costs about 20 cents on a real account: {ENV}=1 pytest tests/end_to_end --max-usd 2 (docs/operations.md)",
)
def test_the_first_hour_on_a_real_account(max_usd: float, capsys: pytest.CaptureFixture[str]) -> None:
    """A stack of its own comes up, trains through an interruption, is read, and goes without leaving what costs."""
    environment = f"e2e-{secrets.token_hex(3)}"
    folder = ROOT / ".end-to-end" / environment
    folder.mkdir(parents=True)

    def say(line: str) -> None:
        with capsys.disabled(), (folder / "journey.log").open("a") as log:
            print(line, flush=True)
            log.write(f"{line}\n")

    account = StackAccount(ROOT, folder, environment)
    with ended_by_signals():  # a second Ctrl-C does not cut off the way back
        Journey(account, max_usd, say=say).run()
