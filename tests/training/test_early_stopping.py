from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from transformers import TrainerState

from receipt_trainer.training.callbacks import EarlyStopping


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize(("metric", "is_higher_better"), [("eval_loss", False), ("eval_f1", True)])
def test_an_evaluation_without_a_number_does_not_count(bad: float | None, metric: str, is_higher_better: bool) -> None:
    """It is never the best one, whichever way is up; patience counts the others."""
    stopping = EarlyStopping(SimpleNamespace(metric=metric, is_higher_better=is_higher_better), 2)

    def is_reached(*values: float | None) -> bool:
        return stopping.is_reached(TrainerState(log_history=[{metric: value} for value in values]))

    better, worse = [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]
    if is_higher_better:
        better, worse = worse, better
    assert not is_reached(bad, *better)
    assert is_reached(bad, *worse)
    assert is_reached(worse[0], bad, *worse[1:])
    assert not is_reached(worse[0], bad, bad, bad, worse[1])
    assert not is_reached(*[bad] * 5)
    assert not EarlyStopping(SimpleNamespace(metric=metric, is_higher_better=is_higher_better), 0).is_reached(
        TrainerState(log_history=[{metric: value} for value in worse])
    )
