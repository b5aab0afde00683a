"""The folder of a model: written beside its place, then put there whole."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from receipt_trainer.errors import UserError
from receipt_trainer.training.checkpoints import flush_folder

_OURS: Final = "receipt-trainer-"


def write_model(model: Any, processor: Any, folder: Path, *, replace: bool = True) -> None:
    """Write model (or adapter) and processor beside `folder`, then put them in its place.

    Args:
        replace: put it in the place of a folder that is there, as the only one who writes to it; else that is refused.

    Raises:
        UserError: `folder` is there and not to be replaced, also where another process put it there meanwhile.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.{_OURS}"
    if replace:  # elsewhere another process may be writing at this moment
        _remove_leftovers(folder.parent, prefix)
    beside = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        model.save_pretrained(beside)
        processor.save_pretrained(beside)
        beside.chmod(0o755)  # mkdtemp makes it private
        flush_folder(beside)
        if replace and folder.exists():
            folder.replace(Path(f"{beside}.old"))
        _put(beside, folder)
        flush_folder(folder.parent)
        shutil.rmtree(f"{beside}.old", ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _put(beside: Path, folder: Path) -> None:
    try:
        beside.rename(folder)  # fails where a file or a folder with content is
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise UserError(f"{folder} is there already; choose another folder") from None


def _remove_leftovers(parent: Path, prefix: str) -> None:
    """What a killed process left; the name is compared letter by letter."""
    for path in list(parent.iterdir()):
        if path.name.startswith(prefix) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
