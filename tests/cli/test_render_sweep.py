"""The live table of `receipt-trainer sweep --monitor` as a terminal shows it."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from receipt_trainer.cli.render.sweep import SweepScreen
from receipt_trainer.sweep import plan
from receipt_trainer.sweep.definition import Definition
from receipt_trainer.sweep.trial import SeedRun, Trial
from tests.sweep.world import axis, vl_definition

KEYS = {"learning_rate": "1e-5,2e-5,3e-5", "batch_size": "2,4,8", "lora.r": "8,16", "loss.use_focal": "true,false"}
MODULES = "[q_proj],[q_proj,k_proj,v_proj,o_proj]"


@pytest.fixture(scope="module")
def of() -> Definition:
    axes = [axis(key, text, "paddleocr-vl") for key, text in KEYS.items()]
    return vl_definition(*axes, axis("lora.target_modules", MODULES, "paddleocr-vl"), seeds=(0, 1))


@pytest.fixture(scope="module")
def trials(of: Definition) -> list[Trial]:
    """72 trials: three complete, three that run, and the rest wait."""

    def trial(number: int, params: dict[str, object]) -> Trial:
        if number >= 6:
            return Trial("v", number, params, (SeedRun(0, "a"), SeedRun(1, "b")), "QUEUED")
        status, score = ("SUCCEEDED", 0.5 - number / 100) if number < 3 else ("RUNNING", None)
        runs = tuple(SeedRun(seed, "a", status, score, None, 900.0, 0.25, number // 3, (0.9,)) for seed in (0, 1))
        return Trial("v", number, params, runs, "COMPLETE" if number < 3 else "QUEUED")

    return [trial(number, params) for number, params in enumerate(plan.expand(of))]


def shown(of: Definition, trials: list[Trial], width: int, height: int) -> list[str]:
    """The lines of the newest picture, as they stand on a terminal of this size."""
    stream = StringIO()
    console = Console(
        file=stream, force_terminal=True, width=width, height=height, markup=False, highlight=False, color_system=None
    )
    with SweepScreen(of, len(trials), console) as screen:
        stream.truncate(stream.seek(0))
        screen.show(trials)
        return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", stream.getvalue()).replace("\r", "").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40), (250, 50)])
def test_it_fits(of: Definition, trials: list[Trial], width: int, height: int) -> None:
    """No line is wider and the picture is not higher than the terminal; trial, state and score stand there whole."""
    lines = shown(of, trials, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    words = [line.split() for line in lines]
    best = next(row for row in words if "COMPLETE" in row)
    assert best[0] == "2"
    assert best[best.index("COMPLETE") + 1] == "0.4800"
    running = next(row for row in words if "RUNNING" in row)
    assert "(0.9000)" in running
    assert any(line.startswith("3 of 72 trials have ended, 69 are queued or running; best eval loss") for line in lines)
    assert set(lines[-1]) <= set("━╸╺ ")


def test_what_there_is_no_room_for_is_said(of: Definition, trials: list[Trial]) -> None:
    """Columns and rows that a small terminal leaves out are named and counted; a wide one leaves out no column."""
    small = shown(of, trials, 80, 24)
    rows = sum(bool(re.match(r"\d+ {2,}", line)) for line in small)
    assert any(line.startswith(f"{72 - rows} more trials; no room for seeds, ± sd") for line in small)
    assert not any("no room" in line for line in shown(of, trials, 250, 50))
    tiny = shown(of, trials, 40, 24)
    assert max(map(len, tiny)) <= 40
    assert any(line.split()[:3] == ["2", "1e-05", "COMPLETE"] for line in tiny), tiny


def test_values_are_written_as_in_a_job_file(of: Definition, trials: list[Trial]) -> None:
    """Lists without brackets, true and false, and nothing for a time that has not begun."""
    text = "\n".join(shown(of, trials, 250, 50))
    assert "q_proj,k_proj,v_proj,o_proj" in text
    assert "True" not in text
    assert "0.00 s" not in text
    assert "≥ $0.5" in text
