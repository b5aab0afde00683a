"""Errors that end a command, and how."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user: one line that says what, where and what to do; exit code 2, no traceback."""

    exit_code = 2


class WorldError(Exception):
    """A fault of the world that bounded retries did not cure (AWS, file system); exit code 1, no traceback."""

    exit_code = 1
