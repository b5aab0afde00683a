"""`receipt-trainer serve`: options that exclude each other."""

from __future__ import annotations

import pytest

from tests.cli.jobs import Caller


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--corrections"], "--stack NAME"),
        (["--keep-photos"], "--corrections"),
    ],
)
def test_what_is_for_a_stack_is_refused_without_one(call: Caller, flags: list[str], said: str) -> None:
    """Said in one line before any model is looked for."""
    done = call("serve", "--model", "nowhere", "--no-browser", "--port", "0", *flags)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert said in done.err
