"""A holder of a model that a test has made itself."""

from __future__ import annotations

from dataclasses import dataclass

from receipt_trainer.serving.holder import Held, Holder


@dataclass
class Standing(Holder):
    """Always the same model, from nowhere."""

    held: Held

    problem = None

    def current(self) -> Held:
        """The model."""
        return self.held

    def start(self) -> None:
        """There is no newer one to look for."""

    def close(self) -> None:
        """Nothing was begun."""
