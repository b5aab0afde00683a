"""Calls of `receipt-trainer vl` that are to succeed, or to be refused."""

from __future__ import annotations

from tests.cli.jobs import Caller


def succeed(call: Caller, *words: object) -> str:
    """What the command prints; anything but exit code 0 fails the test."""
    said = call(*map(str, words))
    assert said.code == 0, said.err
    return said.out


def refuse(call: Caller, *words: object) -> str:
    """The one line of a user's mistake; anything but exit code 2 fails the test."""
    said = call(*map(str, words))
    assert said.code == 2, said.out + said.err
    lines = said.err.strip().splitlines()
    assert lines[-1].startswith("error: "), said.err
    return lines[-1]
