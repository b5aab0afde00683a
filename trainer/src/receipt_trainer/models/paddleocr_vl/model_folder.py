"""The folder of a model: written beside its place, then put there whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from receipt_trainer.files import replacing_folder

_OURS: Final = "receipt-trainer-"


def write_model(model: Any, processor: Any, folder: Path, *, replace: bool = True) -> None:
    """Write model (or adapter) and processor beside `folder`, then put them in its place.

    Args:
        replace: put it in the place of a folder that is there, as the only one who writes to it; else that is refused.

    Raises:
        UserError: `folder` is there and not to be replaced, also where another process put it there meanwhile.
    """
    with replacing_folder(folder, replace=replace) as beside:
        model.save_pretrained(beside)
        processor.save_pretrained(beside)
