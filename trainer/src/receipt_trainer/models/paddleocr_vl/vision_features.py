"""What a frozen vision tower makes of the images of a run, kept on disk: computed once instead of in every epoch."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

_DISK: Final = Path("/var/tmp")  # noqa: S108
"""Not /tmp, which is memory on many systems."""
_SHARE: Final = 0.5
"""Of the free disk at most."""

logger = logging.getLogger(__name__)


class VisionFeatures:
    """Features of examples by their number, in a file without a name: it goes with the process, however that ends.

    An image's features are computed from it alone, whatever else is in its batch, so that a run that is resumed
    elsewhere, without this file, sees the same numbers.

    Attributes:
        grids: (examples, 3), patches by time, height and width of each image whose features are stored, else 0; in
            shared memory, for the processes that read images.
        num_bytes: size of the file.
    """

    def __init__(self, num_examples: int, most_bytes: float, share: float = 1.0) -> None:
        """
        Args:
            most_bytes: of all such files, which never take more than half of the free disk.
            share: of that for this one.
        """
        self.grids = torch.zeros(num_examples, 3, dtype=torch.long).share_memory_()  # type: ignore[no-untyped-call]
        folder = os.environ.get("TMPDIR") or (_DISK if _DISK.is_dir() else tempfile.gettempdir())
        self._most_bytes = int(min(most_bytes, shutil.disk_usage(folder).free * _SHARE) * share)
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._places: dict[int, tuple[int, torch.Size, torch.dtype]] = {}
        self.num_bytes, self._is_full = 0, False

    def of_batch(
        self, model: Any, numbers: Sequence[tuple[int, bool]], grids: Tensor, pixels: Tensor | None
    ) -> dict[str, BaseModelOutputWithPooling]:
        """What the model takes instead of pixels.

        Args:
            model: as transformers knows it.
            numbers: of the batch's examples, each with whether its pixels are among `pixels`.
            grids: (examples, 3), as in a batch.
            pixels: (patches, channels, height, width), as in a batch.
        """
        rest, found = pixels, []
        for (number, has_pixels), grid in zip(numbers, grids, strict=True):
            own = None
            if has_pixels and rest is not None:
                own, rest = rest[: int(grid.prod())], rest[int(grid.prod()) :]
            if number not in self._places and own is not None:
                with torch.no_grad():
                    (features,) = model.get_image_features(own, grid[None], return_dict=True).pooler_output
                self._store(number, grid, features)
            else:
                features = self._load(number).to(grids.device)
            found.append(features)
        return {"image": BaseModelOutputWithPooling(pooler_output=tuple(found))}

    def _store(self, number: int, grid: Tensor, features: Tensor) -> None:
        size = features.numel() * features.element_size()
        if self._is_full or self.num_bytes + size > self._most_bytes:
            self._stop(f"they take more than {self._most_bytes / 1e9:.1f} GB")
            return
        try:
            self._file.seek(self.num_bytes)
            self._file.write(features.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
            self._file.flush()
        except OSError as error:
            self._stop(str(error.strerror))
            return
        self._places[number] = self.num_bytes, features.shape, features.dtype
        self.num_bytes += size
        self.grids[number] = grid.cpu()  # last: from now on the image is not opened

    def _load(self, number: int) -> Tensor:
        place, shape, dtype = self._places[number]
        self._file.seek(place)
        return torch.frombuffer(bytearray(self._file.read(shape.numel() * dtype.itemsize)), dtype=dtype).view(shape)

    def _stop(self, reason: str) -> None:
        if not self._is_full:
            share = len(self._places) / max(len(self.grids), 1)
            logger.warning("image features of %.0f %% of the documents are kept, the rest not: %s", 100 * share, reason)
        self._is_full = True
