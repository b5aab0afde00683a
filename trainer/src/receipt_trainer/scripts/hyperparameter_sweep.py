"""`python -m receipt_trainer.scripts.hyperparameter_sweep`: the same as `receipt-trainer sweep`."""

from __future__ import annotations

from receipt_trainer.cli.commands.sweep import sweep_command
from receipt_trainer.cli.lazy import run

if __name__ == "__main__":
    run(sweep_command)
