"""The model that answers: loaded, and replaced by a newer one without a pause."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from receipt_trainer.inference.document_reader import DocumentReader

DEFAULT_NAME: Final = "default"


@dataclass(frozen=True, slots=True)
class Held:
    """A model that is ready to answer; a request keeps the one that it began with.

    Attributes:
        name: under which it is served.
        version: as in its answers.
        loaded_at: with time zone UTC.
    """

    reader: DocumentReader
    name: str
    version: str
    loaded_at: datetime


class Holder:
    """Holds one model at a time. `current` may be called by several threads.

    Attributes:
        problem: why the newest version is not the one that answers; None where it is.
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self.problem: str | None = None

    @classmethod
    def fixed(cls, place: str | Path, *, name: str = DEFAULT_NAME, **options: Any) -> Holder:
        """A holder of one model that never changes.

        Args:
            place: a run's folder, a package's, or s3://bucket/.../model/serve.
            options: of the reader, as of `DocumentReader`.

        Raises:
            UserError: there is no package, it is damaged, or it does not read its own sample rightly.
            WorldError: it cannot be downloaded.
        """
        reader = DocumentReader.open(place, **options)
        reader.model.verify()
        return cls(Held(reader, name, reader.version, datetime.now(UTC)))

    def current(self) -> Held:
        """The model that answers now."""
        return self._held

    def start(self) -> None:
        """Begin to look for newer versions, where there can be any."""

    def close(self) -> None:
        """Look no longer; the model goes on answering."""
