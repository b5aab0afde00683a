"""Results of experiments: their log and their ranking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.errors import UserError
from receipt_trainer.sweep.experiments import Result, as_markdown, rank, read_log, stability, write_log


def test_stability() -> None:
    """By hand: 1.2 and 1.5 are above 1.1 times the lowest before; the deviation of the last five over their mean."""
    assert stability([1.0]) == (None, None)
    assert stability([2.0, 1.0, 1.05, 1.2, 0.9, 1.5])[1] == 2
    spread, spikes = stability([9.0, 1.0, 3.0, 1.0, 3.0, 2.0])
    assert spread == pytest.approx((4 / 5) ** 0.5 / 2)
    assert spikes == 3
    assert stability([1.0, 1.0]) == (0.0, 0)


def result(name: str, **values: Any) -> Result:
    return Result.model_validate({"name": name, "digest": "", "changes": "", "status": "complete"} | values)


def test_ranking() -> None:
    """Best first, by fields that are there; equal values share a place; missing values come after, failures last."""
    results = [
        result("none"),
        result("broken", status="failed", eval_loss=0.1),
        result("slow", eval_loss=0.5, present_accuracy=0.8, hours=2.0, spikes=0, spread=0.2),
        result("fast", eval_loss=0.5, field_accuracy=0.9, present_accuracy=0.7, hours=1.0, spikes=0, spread=0.1),
        result("low", eval_loss=0.4, teds=0.9, spikes=1, spread=0.0),
    ]
    by_loss = rank(results, "eval_loss")
    assert [one.result.name for one in by_loss] == ["low", "slow", "fast", "none", "broken"]
    assert [one.places["eval_loss"] for one in by_loss] == [1, 2, 2, None, None]
    assert [one.result.name for one in rank(results, "field_accuracy")] == ["slow", "fast", "low", "none", "broken"]
    assert [one.result.name for one in rank(results, "time")] == ["fast", "slow", "low", "none", "broken"]
    assert [one.result.name for one in rank(results, "stability")] == ["fast", "slow", "low", "none", "broken"]
    assert rank(results, "teds")[0].result.name == "low"


def test_notes_do_not_break_the_table() -> None:
    """Bars and line ends in notes stay inside their cell."""
    lines = as_markdown([result("a", notes="x | y\nz")]).splitlines()
    assert len(lines) == 3
    assert r"x \| y z" in lines[2]


def test_a_broken_log(tmp_path: Path) -> None:
    """It is named with its line, not written over."""
    write_log(tmp_path, [result("a")])
    with (tmp_path / "experiments.jsonl").open("a") as stream:
        stream.write('{"name": "b"}\n')
    with pytest.raises(UserError, match=r"experiments\.jsonl:2: not a result"):
        read_log(tmp_path)
