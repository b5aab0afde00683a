"""What the losses of a run depend on."""

from __future__ import annotations

from typing import Any

from receipt_trainer.config import DataConfig, TrainingConfig
from receipt_trainer.data import snapshot
from receipt_trainer.data.prepare import Prepared
from receipt_trainer.training import distributed
from receipt_trainer.training.arguments import NOT_IN_THE_CURVE


def fingerprint(model: str, training: TrainingConfig, data: DataConfig, prepared: Prepared) -> dict[str, Any]:
    """What the losses of a run depend on; a checkpoint of another one is refused.

    Args:
        model: name of the start.
    """
    values = training.model_dump(mode="json")
    data_values = snapshot.encoding_config(data) | {"o_entity_ratio": data.o_entity_ratio, "augment": data.augment}
    return {
        "model": model,
        "labels": list(prepared.space.labels),
        "tokenizer": prepared.tokenizer_hash,
        "data": snapshot.fingerprint(prepared),
        "allowed_sets": [sorted(names) for names in prepared.sets],
        "data_config": {name: value for name, value in data_values.items() if name != "split_file"},
        "training_config": {name: value for name, value in values.items() if name not in NOT_IN_THE_CURVE},
        "processes": distributed.count(),
    }
