"""The weights in a checkpoint, put back into the model that wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file

from receipt_trainer.errors import UserError

ADAPTER: Final = "adapter_model.safetensors"


def load_weights(model: Any, folder: Path) -> None:
    """Overwrite the trained weights of `model` by those in `folder`.

    A whole model's file bears the names of the published one, which `load_state_dict` does not know.

    Raises:
        UserError: the file does not fit the model.
    """
    if (folder / ADAPTER).is_file():
        from peft import set_peft_model_state_dict

        result: Any = set_peft_model_state_dict(model, load_file(folder / ADAPTER))
        trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
        wrong = [*result.unexpected_keys, *(name for name in result.missing_keys if name in trained)]
    else:
        stored, info = type(model).from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        wrong = [*info["missing_keys"], *info["unexpected_keys"]]
        model.load_state_dict(stored.state_dict())
    if wrong:
        raise UserError(f"{folder}: its weights are not those of this model, such as {sorted(wrong)[0]}")
