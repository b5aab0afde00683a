"""Makes a training process of the second family wait at its n-th loss (TEST_VL_HOLD_AT) until it is asked to stop."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from receipt_trainer.models.paddleocr_vl.loss import TokenLoss
from tests.training.zygote import pause


def install(argv: Sequence[str]) -> None:
    """Called in the child before it trains."""
    original: Any = TokenLoss.__call__
    calls = 0

    def held(self: TokenLoss, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(os.environ["TEST_VL_HOLD_AT"]):
            os.environ["PAUSED"] = os.environ["TEST_HOLD_FILE"]
            pause()
        return original(self, *args)

    TokenLoss.__call__ = held  # type: ignore[method-assign]
