"""The model that answers: loaded, and replaced by a newer one without a pause."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from receipt_trainer.contract.package import SAMPLE_FILE
from receipt_trainer.contract.pointer import DEFAULT_NAME
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.inference.document_reader import DocumentReader, LazyOcr
from receipt_trainer.inference.inputs import Reader
from receipt_trainer.inference.model_place import DamagedPackageError, NoPackageError, find_model
from receipt_trainer.inference.reader import PackageReader
from receipt_trainer.serving.model_cache import Lease, ModelCache
from receipt_trainer.serving.model_source import Candidate, FolderSource, ModelSource, PointerSource
from receipt_trainer.serving.pointer_store import InvalidPointerError, PointerStore

if TYPE_CHECKING:
    from receipt_trainer.inference.server_reader import ServerReader

LOOK_S: Final = 60.0
"""Between two looks for a newer model, a tenth more or less: many servers do not ask at the same moment."""
_JITTER: Final = 0.1
_CLOSE_S: Final = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A model that is ready to answer; a request keeps the one that it began with.

    Attributes:
        name: under which it is served.
        version: as in its answers.
        loaded_at: with time zone UTC.
    """

    reader: Reader
    name: str
    version: str
    loaded_at: datetime


class ServerHolder:
    """Holds a model that is on a server, which looks for newer ones itself."""

    problem: str | None = None

    def __init__(self, reader: ServerReader) -> None:
        self._held = Held(reader, reader.server.model, reader.version, datetime.now(UTC))

    def current(self) -> Held:
        """The model that answers."""
        return self._held

    def start(self) -> None:
        """Nothing is looked for."""

    def close(self) -> None:
        """Nothing was begun."""


class Holder:
    """Holds one model at a time. `current` may be called by several threads, `look` by one."""

    def __init__(
        self, source: ModelSource, *, name: str = DEFAULT_NAME, look_s: float = LOOK_S, **options: Any
    ) -> None:
        """Load the newest model that can be loaded.

        Args:
            source: where models come from.
            name: under which it is served.
            look_s: seconds between two looks for a newer one.
            options: of the readers, as of `DocumentReader`.

        Raises:
            UserError: there is no model, or it is damaged or does not read its own sample as it must.
            WorldError: it cannot be read or downloaded.
        """
        self._source, self._name, self._look_s = source, name, look_s
        self._options = {"ocr": LazyOcr(), **options}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._refused: str | None = None
        self._fault: str | None = None
        self._held, self._package, self._lease = self._first()
        self._tidy()

    @classmethod
    def fixed(cls, place: str | Path, **options: Any) -> Holder:
        """A holder of the model that a user names; a folder whose content changes is loaded again.

        Args:
            place: a run's folder, a package's, or s3://bucket/.../model/serve.
            options: as of `__init__`, as are the errors.
        """
        return cls(FolderSource(find_model(place)), **options)

    @classmethod
    def following(
        cls,
        bucket: str,
        name: str = DEFAULT_NAME,
        *,
        cache: ModelCache | None = None,
        until_promoted: Callable[[], str] | None = None,
        **options: Any,
    ) -> Holder:
        """A holder of what the pointer `name` in a bucket names.

        Args:
            bucket: of a stack.
            name: of the pointer.
            cache: where its packages are kept on disk.
            until_promoted: gives the s3:// of the package that answers as long as there is no pointer.
            options: as of `__init__`, as are the errors.
        """
        source = PointerSource(PointerStore(bucket, name), cache, until_promoted=until_promoted)
        return cls(source, name=name, **options)

    @property
    def problem(self) -> str | None:
        """Why the newest model is not the one that answers, or cannot be looked for; None where all is well."""
        return self._fault or self._refused

    def current(self) -> Held:
        """The model that answers now."""
        return self._held

    def start(self) -> None:
        """Begin to look for newer models in the background."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="model-holder", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Look no longer; the model goes on answering. A download that is under way ends with the process."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def look(self) -> bool:
        """Look for a newer model, and put it in force; returns whether that was done.

        A model that is refused is not looked at again until the source changes; after a fault of the world the next
        look tries again. Either way the old one goes on answering, and `problem` says why.
        """
        try:
            candidate = self._source.newer()
        except InvalidPointerError as error:
            self._refuse(error.etag, str(error))
            return False
        except (UserError, WorldError) as error:
            self._suffer(str(error))
            return False
        self._fault = None
        if candidate is None:
            return False
        if candidate.package == self._package:  # promoted again, or back from one that was refused
            self._accept(candidate)
            return False
        return self._replace(candidate)

    def _replace(self, candidate: Candidate) -> bool:
        try:
            lease = candidate.fetch()
        except (NoPackageError, DamagedPackageError) as error:
            self._refuse(candidate.state, str(error))
            return False
        except (UserError, WorldError) as error:
            self._suffer(str(error))
            return False
        try:
            held = self._load(lease)
        except UserError as error:
            lease.close()
            self._refuse(candidate.state, str(error))
            return False
        former, old = self._held.version, self._lease
        self._held, self._package, self._lease = held, candidate.package, lease
        old.close()
        self._accept(candidate)
        _log.info("another model answers", name=self._name, version=held.version, former=former)
        self._tidy()
        return True

    def _first(self) -> tuple[Held, str, Lease]:
        candidates = self._source.first()
        for candidate in candidates:
            try:
                lease = candidate.fetch()
                try:
                    held = self._load(lease)
                except UserError:
                    lease.close()
                    raise
            except (UserError, DamagedPackageError) as error:
                if candidate is candidates[-1]:
                    raise
                self._refuse(candidate.state, str(error))
            else:
                self._source.settle(candidate.state)
                return held, candidate.package, lease
        raise AssertionError("a source has a model or raises")

    def _load(self, lease: Lease) -> Held:
        """The model of a package, after it has read its own sample; UserError: it is damaged, or does not."""
        try:
            reader = DocumentReader(PackageReader.open(lease.folder), **self._options)
            reader.model.verify()
            sample = json.loads(reader.model.package.file(SAMPLE_FILE).read_bytes())
            reader.read(sample["receipt"])  # the first answer takes longer than others
        except UserError:
            raise
        except Exception as error:  # whatever a package does, the model before it goes on
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UserError(f"{lease.folder}: the model cannot be loaded: {why}") from error
        return Held(reader, self._name, reader.version, datetime.now(UTC))

    def _accept(self, candidate: Candidate) -> None:
        self._source.settle(candidate.state)
        self._refused = None

    def _refuse(self, state: str, why: str) -> None:
        """Remember a model that cannot answer, and say it once."""
        self._source.settle(state)
        self._fault, self._refused = None, why
        _log.error("the newest model is refused", name=self._name, problem=why)

    def _suffer(self, why: str) -> None:
        """Say a fault of the world once, however often it comes."""
        if self._fault is None:
            _log.warning("cannot look for a newer model", name=self._name, problem=why)
        self._fault = why

    def _tidy(self) -> None:
        try:
            self._source.tidy()
        except WorldError as error:
            _log.warning("old models stay on disk", problem=str(error))

    def _run(self) -> None:
        while not self._closed.wait(self._look_s * random.uniform(1 - _JITTER, 1 + _JITTER)):  # noqa: S311
            try:
                self.look()
            except Exception as error:  # a bug of ours must not end the looks
                _log.exception("a look for a newer model has failed")
                self._fault = f"{type(error).__name__}: {error}"
