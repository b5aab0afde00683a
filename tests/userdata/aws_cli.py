"""The real AWS CLI, as a module of a fork server."""

from __future__ import annotations

import os

from awscli.clidriver import create_clidriver

_DATA_PATH = os.environ["AWS_DATA_PATH"]  # of the CLI's own data: set by its import
create_clidriver()  # for its imports


def main(argv: list[str]) -> int:
    """One call."""
    os.environ["AWS_DATA_PATH"] = _DATA_PATH
    code: int = create_clidriver().main(argv)
    return code
