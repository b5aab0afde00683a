"""Bytes of tensors that are alive, counted at every operation: memory that does not depend on the machine."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts storages that operations make, from their making to their end, in the backward pass, too.

    Attributes:
        now: bytes that are held; what was made outside counts as nothing.
        peak: the most there were.
    """

    def __init__(self) -> None:
        """Nothing is held."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, and count what is new."""
        self._look(tree_leaves((args, kwargs)), counted=False)
        made = func(*args, **(kwargs or {}))
        self._look(tree_leaves(made), counted=True)
        return made

    def _look(self, values: Iterable[Any], *, counted: bool) -> None:
        for storage in (value.untyped_storage() for value in values if isinstance(value, Tensor)):
            if storage._cdata in self._known:
                continue
            size = storage.nbytes() if counted else 0
            self._known.add(storage._cdata)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._end, storage._cdata, size)

    def _end(self, key: int, size: int) -> None:
        self.now -= size
        self._known.discard(key)
