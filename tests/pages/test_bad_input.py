"""Damaged files."""

from __future__ import annotations

from collections import Counter

from benchmarks.mutants import FORMATS, mutants, outcome


def test_a_damaged_file_is_refused_or_read() -> None:
    """200 files of all kinds, cut off and with bytes changed: each is read or refused in one line, and nothing else
    comes out of any decoder; some are read and some are refused, so the damage is neither none nor total."""
    images = tuple(kind for kind in FORMATS if kind != "PDF")
    found = Counter(outcome(content) for _, content in mutants(180, 1, images))
    found += Counter(outcome(content) for _, content in mutants(20, 1, ("PDF",)))
    assert set(found) == {"read", "refused"}, found
    assert min(found.values()) > 20
