"""What the stack exports: exactly the fields of the contract's StackOutputs."""

from __future__ import annotations

from typing import Any

import pulumi

from receipt_trainer.contract.outputs import StackOutputs


def export(**values: pulumi.Input[Any]) -> None:
    """Export every output of the contract.

    Raises:
        TypeError: a field of StackOutputs is missing, or a value is none of its fields.
    """
    fields = set(StackOutputs.model_fields)
    if wrong := fields.symmetric_difference(values):
        raise TypeError(f"not exactly the fields of StackOutputs: {', '.join(sorted(wrong))}")
    for name, value in values.items():
        pulumi.export(name, value)
