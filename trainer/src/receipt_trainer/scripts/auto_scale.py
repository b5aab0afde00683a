"""`python -m receipt_trainer.scripts.auto_scale`: the same as `receipt-trainer fleet`."""

from __future__ import annotations

from receipt_trainer.cli.commands.fleet import fleet_command
from receipt_trainer.cli.lazy import run

if __name__ == "__main__":
    run(fleet_command)
