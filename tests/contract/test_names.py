"""Job names: what may name a folder and an S3 prefix."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.contract.names import CORE_LABELS, is_job_name


@given(st.text(max_size=70) | st.text(alphabet="./\\~aZ0-_\n\x00 ", max_size=8))
@example(".")
@example("..")
@example("...")
@example("a\n")
@example("ａ")
@example("x" * 64)
@example("x" * 65)
def test_a_job_name_is_never_a_path(name: str) -> None:
    """A name that is admitted is one plain folder name: joined to a root it lies directly in it."""
    if is_job_name(name):
        assert 1 <= len(name) <= 64
        assert (name.isascii(), name.isprintable()) == (True, True)
        assert not set(name) & set("/\\ ~$*?'\"")
        assert (Path("/root") / name).resolve().parent == Path("/root")
        assert LayoutLMJob(job_name=name).job_name == name
    else:
        with pytest.raises(ValidationError):
            LayoutLMJob(job_name=name)


@given(st.text(alphabet="abcXYZ019._-", min_size=1, max_size=64))
def test_every_documented_name_is_admitted(name: str) -> None:
    """Every text of the documented letters is a job name, `.` and `..` apart."""
    assert is_job_name(name) == (name not in (".", ".."))


def test_twelve_core_labels() -> None:
    """The core labels are twelve, and none twice."""
    assert len(set(CORE_LABELS)) == len(CORE_LABELS) == 12
