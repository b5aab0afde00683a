"""`python -m receipt_trainer.scripts.hyperparameter_sweep`: the same as `receipt-trainer sweep`."""

from __future__ import annotations

from importlib import import_module

if __name__ == "__main__":
    import_module("receipt_trainer.cli.lazy").run(import_module("receipt_trainer.cli.sweep").command)
