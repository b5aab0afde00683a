"""`vl experiments`: real runs in processes of their own, and the ranking."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from safetensors.torch import load_file, save_file

from receipt_trainer.cli.commands import experiments
from receipt_trainer.cli.commands.experiments import reason
from receipt_trainer.sweep.experiment_log import Outcome, read_log, write_log
from tests.cli.jobs import Caller
from tests.cli.vl.vl_lab import base_of, write, write_lab
from tests.fork_server import Program
from tests.models.paddleocr_vl.receipts import write_receipts
from tests.models.paddleocr_vl.tiny import make_tiny
from tests.waiting import TIMEOUT_S, wait_for


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return write_lab(tmp_path)


def test_real_runs(call: Caller, vl_cli: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base is trained and scored; a model without numbers fails at step 1 and is logged; nothing is done twice."""
    monkeypatch.setattr(experiments, "PROGRAM", vl_cli.command)
    write_receipts(tmp_path / "data", 4)
    write_receipts(tmp_path / "data", 2, seed=1, name="val")
    model, broken = make_tiny(tmp_path / "model"), make_tiny(tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["lm_head.weight"] *= float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    lab = tmp_path / "lab"
    write(lab, "base", base_of(model, tmp_path / "data"))
    write(lab, "broken", {"model_name_or_path": str(broken)})
    words = ("vl", "experiments", "run", lab, "--max-new-tokens", 8, "--test-dir", tmp_path / "data/val.jsonl")
    said = call(*words)
    assert said.code == 1
    assert "failed: broken" in said.err
    found = read_log(lab / "results")
    base = found["base"]
    assert base.status == "complete", base.notes
    assert base.eval_loss is not None
    assert base.field_accuracy == 0.0
    assert base.hours is not None
    assert base.peak_memory_gib is not None
    assert base.peak_memory_gib > 0.1
    assert (found["broken"].status, found["broken"].failed_step) == ("failed", 1)
    assert "nan" in found["broken"].notes
    times = {path: path.stat().st_mtime_ns for path in lab.rglob("*") if path.is_file()}
    assert call(*words).code == 1
    assert {path: path.stat().st_mtime_ns for path in lab.rglob("*") if path.is_file()} == times
    table = call.succeed("vl", "experiments", "compare", lab).out
    assert table.index("base") < table.index("broken")
    assert "failed at step 1" in table


def test_a_dry_run(call: Caller, lab: Path) -> None:
    """It says what each changes, and leaves nothing."""
    said = call.succeed("vl", "experiments", "run", lab, "--dry-run").out
    assert said.splitlines() == ["base: nothing: the base", "rank-4: lora.r: 2 -> 4"]
    assert not (lab / "results").exists()


def test_several_changes(call: Caller, lab: Path) -> None:
    """Refused with their names, unless they are allowed."""
    write(lab, "two", {"lora": {"r": 4, "dropout": 0.3}})
    said = call.refuse("vl", "experiments", "run", lab, "--dry-run")
    assert "two.yaml (lora.r, lora.dropout)" in said
    assert "lora.dropout" in call.succeed("vl", "experiments", "run", lab, "--dry-run", "--allow-several").out


def test_the_terminal_reaches_the_child_once(tmp_path: Path) -> None:
    """SIGTERM to us is one SIGTERM to the child, whose orderly end is waited for."""
    child = (
        "import signal, sys, time\nn = []\n"
        "signal.signal(15, lambda *a: (n.append(1), open(sys.argv[1], 'a').write('x')))\n"
        "open(sys.argv[1], 'w').close()\nwhile not n: time.sleep(.02)\ntime.sleep(.3)"
    )
    ours = (
        "import sys\nfrom pathlib import Path\nfrom receipt_trainer.cli.commands import experiments as children\n"
        f"children.PROGRAM = (sys.executable, '-c', {child!r})\n"
        f"try: children.call({str(tmp_path / 'mark')!r}, log=Path({str(tmp_path / 'log')!r}))\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    process = subprocess.Popen([sys.executable, "-c", ours], stdout=subprocess.PIPE, text=True, env=os.environ)
    wait_for((tmp_path / "mark").exists)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=TIMEOUT_S)[0] == "interrupted\n"
    assert (tmp_path / "mark").read_text() == "x"


@pytest.mark.parametrize(
    ("code", "log", "expected"),
    [
        (2, "a warning\nerror: no such model\nbye\n", "no such model"),
        (1, "Traceback\nValueError: x\n", "ValueError: x"),
        (3, "", "exit code 3"),
        (-9, "whatever", "killed by SIGKILL (out of memory?)"),
    ],
)
def test_why_a_command_failed(tmp_path: Path, code: int, log: str, expected: str) -> None:
    """Its line of the error, else its last line, else how it ended."""
    (tmp_path / "log").write_text(log)
    assert reason(code, tmp_path / "log") == expected


def test_the_program_is_ours() -> None:
    """The command that children are started with answers."""
    done = subprocess.run([*experiments.PROGRAM, "vl", "--help"], capture_output=True, text=True, check=True)
    assert "experiments" in done.stdout


def test_the_ranking(call: Caller, tmp_path: Path) -> None:
    """--by decides; places stand in brackets; what failed comes last."""
    known = {"digest": "", "changes": "x", "status": "complete"}
    rows = [
        {"name": "aa", "eval_loss": 0.5, "teds": 0.9, "field_accuracy": 0.6, "present_accuracy": 0.3},
        {"name": "bb", "eval_loss": 0.4, "teds": 0.8, "field_accuracy": 0.5, "present_accuracy": 0.4},
        {"name": "cc", "status": "failed", "failed_step": 3},
    ]
    write_log(tmp_path, [Outcome.model_validate(known | row) for row in rows])

    def order(*words: str) -> list[str]:
        said = call.succeed("vl", "experiments", "compare", tmp_path, *words, "--json").out
        return [row["name"] for row in json.loads(said)]

    assert order() == ["bb", "aa", "cc"]
    assert order("--by", "teds") == ["aa", "bb", "cc"]
    shown = call.succeed("vl", "experiments", "compare", tmp_path).out
    assert "0.4000 (1)" in shown
    assert "cc: failed at step 3; x" in shown
    assert order("--by", "field_accuracy") == ["bb", "aa", "cc"]


def test_the_ranking_on_a_narrow_terminal(call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 80 columns numbers stand whole, what has no room is named, and what decides is there."""
    values = {"eval_loss": 0.4567, "teds": 0.9, "field_accuracy": 0.6, "present_accuracy": 0.3, "hours": 12.5}
    values |= {"spikes": 3, "spread": 0.1234, "peak_memory_gib": 39.5}
    rows = [{"name": f"learning-rate-of-{n}e-4", "digest": "", "changes": "x " * 60} for n in range(3)]
    write_log(tmp_path, [Outcome.model_validate({"status": "complete"} | values | row) for row in rows])
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    said = click.unstyle(call.succeed("vl", "experiments", "compare", tmp_path, "--by", "time").out)
    table, _, notes = said.partition("\n\n")
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in said
    assert table.count("0.4567 (1)") == table.count("0.300 (1)") == table.count("12.50 (1)") == 3
    assert "no room for peak GiB" in table
    assert notes.count("complete; x x") == 3


def test_no_log(call: Caller, tmp_path: Path) -> None:
    """It says to run them first."""
    assert "run the experiments first" in call.refuse("vl", "experiments", "compare", tmp_path)
