"""The configuration of a run, by family: every field with its unit, meaning and source; files of values."""

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig

__all__ = ["DataConfig", "TrainingConfig"]
