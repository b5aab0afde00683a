"""`python -m receipt_trainer.scripts.hyperparameter_sweep`: the same as `receipt-trainer sweep`."""

from __future__ import annotations

from receipt_trainer.cli.lazy import run
from receipt_trainer.cli.sweep import command

if __name__ == "__main__":
    run(command)
