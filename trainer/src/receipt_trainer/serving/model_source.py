"""Where models come from: a folder, or what a pointer names; and whether there is a newer one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from receipt_trainer.errors import UserError
from receipt_trainer.inference.model_place import SCHEME, find_model
from receipt_trainer.inference.package import find_package
from receipt_trainer.serving.model_cache import Lease, ModelCache
from receipt_trainer.serving.pointer_store import PointerStore, StoredPointer


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be loaded.

    Attributes:
        state: of the source, by which this candidate is not offered again once it is settled.
        package: what distinguishes its package from others.
        fetch: has it on disk; as long as the lease is open it stays there.
    """

    state: str
    package: str
    fetch: Callable[[], Lease]


class ModelSource(Protocol):
    """Where models come from."""

    def first(self) -> list[Candidate]:
        """The newest model, and behind it those to begin with if it is refused; UserError or WorldError: none."""

    def newer(self) -> Candidate | None:
        """The newest model, unless it is settled."""

    def settle(self, state: str) -> None:
        """Do not offer this state again: it was loaded or refused."""

    def tidy(self) -> None:
        """Remove models from the disk that nobody uses."""


class FolderSource:
    """A run's or a package's folder, which may be exported anew."""

    def __init__(self, place: Path) -> None:
        self._place, self._settled = place, ""

    def first(self) -> list[Candidate]:
        """What is in the folder; UserError: nothing."""
        return [self._candidate(self._state())]

    def newer(self) -> Candidate | None:
        """What is in the folder, where a file of it has changed."""
        state = self._state()
        return None if state == self._settled else self._candidate(state)

    def settle(self, state: str) -> None:
        """Do not offer the folder again as it is."""
        self._settled = state

    def tidy(self) -> None:
        """The folder is its user's."""

    def _candidate(self, state: str) -> Candidate:
        return Candidate(state, state, lambda: Lease(find_package(self._place)))

    def _state(self) -> str:
        folder = find_package(self._place)
        try:
            found = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
        except OSError as error:  # it is being replaced
            raise UserError(f"{folder}: {error.strerror or error}") from None
        return repr([(name, said.st_size, said.st_mtime_ns, said.st_ino) for name, said in found])


class PointerSource:
    """What a pointer names, now and after each promotion."""

    def __init__(
        self, store: PointerStore, cache: ModelCache | None = None, *, until_promoted: Callable[[], str] | None = None
    ) -> None:
        """Follow a pointer.

        Args:
            cache: where its packages are kept on disk.
            until_promoted: gives the s3:// of the package that answers as long as there is no pointer.
        """
        self._store, self._until_promoted = store, until_promoted
        self._cache = cache or ModelCache(store.uri)
        self._settled = ""

    def first(self) -> list[Candidate]:
        """The model in force and the one before it; UserError: none was promoted, and nothing answers until then."""
        if self._until_promoted is None:
            return self._candidates(self._store.require())
        found = self._store.find()
        return [_newest(self._until_promoted())] if found is None else self._candidates(found)

    def newer(self) -> Candidate | None:
        """The model in force where the pointer has changed, or was written; faults as `PointerStore.changed`.

        As long as there is no pointer, the package that answers until then where that is another one.
        """
        is_promoted = self._settled and not self._settled.startswith(SCHEME)
        found = self._store.changed(self._settled) if is_promoted else self._store.find()
        if found is not None:
            return self._candidates(found)[0]
        if is_promoted or self._until_promoted is None:
            return None
        newest = _newest(self._until_promoted())
        return None if newest.state == self._settled else newest

    def settle(self, state: str) -> None:
        """Do not offer what the pointer says until it says something else."""
        self._settled = state

    def tidy(self) -> None:
        """Keep the last two models."""
        self._cache.tidy()

    def _candidates(self, found: StoredPointer) -> list[Candidate]:
        models = [found.pointer.current, *found.pointer.previous[:1]]
        return [
            Candidate(found.etag, model.manifest_sha256, lambda model=model: self._cache.lease(model))  # type: ignore[misc]
            for model in models
        ]


def _newest(uri: str) -> Candidate:
    """The package of a job that nobody has promoted."""
    return Candidate(uri, uri, lambda: Lease(find_model(uri)))
