"""Receipts, commands, files and curves of runs in tests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from receipt_trainer.contract.run_record import load_record
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate
from receipt_trainer.training import checkpoints

FIELDS = ("loss", "grad_norm", "learning_rate")
FEW: list[object] = ["--epochs", 2, "--batch-size", 20]
"""Of a run that is over soon."""


def write_receipts(path: Path, seed: int) -> None:
    """Nine synthetic receipts of 21 lines, whatever is drawn: eight to train on, 17 batches of ten lines an epoch."""
    chosen = []
    for receipt in generate(100, seed):
        lines = sorted({word.line for word in receipt.words})
        if len(lines) >= 21:
            kept = {*lines[:12], *lines[-9:]}
            words = tuple(word for word in receipt.words if word.line in kept)
            chosen.append(to_line(replace(receipt, words=words)))
    path.write_text("".join(chosen[:9]), encoding="utf-8")


def train_command(receipts: Path, run_dir: Path, *more: object, **settings: object) -> list[object]:
    """`layoutlm-cli train` with a tiny model: 3 epochs in fp32, augmented, with accumulation, every loss logged."""
    values: dict[str, object] = {"logging_steps": 1, "augment": "true", "export_package": "false", **settings}
    return [
        "train",
        *("--model", "tiny", "--dataset", receipts, "--job-name", "job", "--output-dir", run_dir),
        *("--epochs", 3, "--batch-size", 10, "--gradient-accumulation-steps", 2, "--lr", 3e-3),
        *("--precision", "fp32", "--device", "cpu", "--no-progress"),
        *(part for key, value in values.items() for part in ("--set", f"{key}={value}")),
        *more,
    ]


def record_of(run_dir: Path) -> Any:
    """The record, of either family."""
    return load_record(run_dir / "run.json")


def state_of(checkpoint: Path) -> dict[str, Any]:
    """transformers' own state in a checkpoint."""
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_bytes())
    return state


def curve(run_dir: Path) -> dict[int, dict[str, float]]:
    """Loss, gradient norm and learning rate of every step, from the newest checkpoint."""
    history = state_of(checkpoints.folders(run_dir)[0])["log_history"]
    return {row["step"]: {name: row[name] for name in FIELDS} for row in history if "loss" in row}


def epochs(run_dir: Path) -> list[dict[str, Any]]:
    """The epochs' rows of run.json, without what the clock decides."""
    return [row.model_dump(exclude={"elapsed_s"}) for row in record_of(run_dir).epoch_metrics]


def predictions(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


def newest_step(run_dir: Path) -> int:
    """Step of the newest complete checkpoint, 0 if there is none."""
    found = checkpoints.latest(run_dir)
    return found.step if found else 0
