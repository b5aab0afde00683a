"""Broken files."""

from __future__ import annotations

from pathlib import Path

from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.foreign import detect
from receipt_trainer.data.sources.load import read_files
from receipt_trainer.errors import UserError
from tests.data.sources.mutations import mutated
from tests.data.sources.samples import SAMPLES, format_of

COUNT = 10 * len(SAMPLES)


def test_broken_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    """Of files with broken bytes and values none crashes; what is read is sound; what is refused says why in a line."""
    outcomes, refusals = {"read": 0, "refused": 0}, []
    for form, name, data in mutated(COUNT, seed=5):
        path = tmp_path / name
        path.write_bytes(data)
        for format in (None, format_of(form)):
            try:
                receipts = read_files(path, ProblemLog(), format=format)
                detect(path)
            except UserError as error:
                outcomes["refused"] += 1
                refusals.append(str(error))
                continue
            outcomes["read"] += 1
            for receipt in receipts:
                assert receipt.words
                for word in receipt.words:
                    x0, y0, x1, y1 = word.box
                    assert 0 <= x0 < x1 <= 1
                    assert 0 <= y0 < y1 <= 1
                    assert word.text.strip()
    assert all("\n" not in refusal and str(tmp_path) in refusal for refusal in refusals)
    assert min(outcomes.values()) > COUNT // 4, outcomes
