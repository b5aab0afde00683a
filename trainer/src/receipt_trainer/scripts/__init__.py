"""Programs that are started as `python -m receipt_trainer.scripts.NAME`; the same as commands of the program."""
