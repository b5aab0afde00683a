"""A training job as asked for, the YAML of a job file; and how large one may be, to be stored and changed later."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Generic, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import PoolName, Priority

Family = Literal["layoutlm", "paddleocr-vl"]
"""A model family, as job files, rows and run records name it."""
FAMILIES: Final[tuple[Family, ...]] = get_args(Family)

Training = TypeVar("Training", bound=BaseModel)
"""How a family trains."""
Data = TypeVar("Data", bound=BaseModel)
"""The data configuration of a family."""

_LATER: Final = ("max_hours", "max_usd", "notify")
"""Fields that version 0.1.0 does not know. Unset they are not written, so that ids and digests of equal jobs stay."""
_NAME_OF_THE_SECOND: Final = re.compile(r"paddleocr[-_]?vl", re.IGNORECASE)


def number_only(value: Any) -> Any:
    """The value; ValueError for `true` or `false` (YAML's `yes` and `no`), which pydantic would take for 1 or 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Limit = Annotated[float, BeforeValidator(number_only), Field(gt=0, allow_inf_nan=False)]
"""A bound of hours or dollars."""


def published_family(model: str) -> Family:
    """The family of a published model, by its name; a folder of another name counts as the first family."""
    return "paddleocr-vl" if _NAME_OF_THE_SECOND.search(model) else "layoutlm"


class Resources(BaseModel):
    """A job's requirements on its machine; they determine its pool."""

    model_config = ConfigDict(extra="forbid")

    gpu: bool | None = Field(None, description="Whether it needs a GPU; unset: a GPU pool if the stack has one")
    pool: PoolName | None = Field(None, description="The pool by name, instead of by need")

    @model_validator(mode="after")
    def _one_wish(self) -> Self:
        if self.pool is not None and self.gpu is not None and self.gpu != (self.pool == "gpu"):
            raise ValueError(f"gpu: {str(self.gpu).lower()} contradicts pool: {self.pool}")
        return self


class JobSpec(BaseModel, Generic[Training, Data]):
    """A job as it was asked for; `receipt_trainer.config.job_file` has the type of each family, and their union."""

    model_config = ConfigDict(extra="forbid")

    family: Family = Field(description="The model family: layoutlm or paddleocr-vl")
    job_name: str = Field(description="Letters, digits, '.', '_' and '-'; at most 64; names the output folder")
    description: str = Field("", description="Free text for people")
    tags: dict[str, str] = Field(default_factory=dict, description="Free key/value pairs for filters")
    model: str = Field(names.DEFAULT_MODEL, description="Hub name, directory, installed package of weights, or 'tiny'")
    training_config: Training
    data_config: Data
    priority: Priority = Field("normal", description="Which of the pool's queues; workers poll high first")
    resources: Resources = Field(default_factory=Resources, description="Requirements on the machine")
    max_failures: Annotated[int, BeforeValidator(number_only)] = Field(
        3, ge=1, le=100, description="Failed attempts that end the job; interruptions do not count"
    )
    max_hours: Limit | None = Field(
        None, description="Instance time of all attempts in hours; then a checkpoint is kept and the job is FAILED"
    )
    max_usd: Limit | None = Field(None, description="The same in US dollars, at the price of each attempt's instance")
    notify: bool | None = Field(
        None, description="Send a notice when it has ended or is held; unset: as the stack does by default"
    )

    def asked(self) -> dict[str, Any]:
        """Plain values of what is asked; a field that says nothing is left out, so that none that a newer version adds
        makes another job of the same words. The family is left out, too: it follows from the other values, and a job
        that says it is the same job as one of version 0.1.0, which could not.
        """
        said = self.model_dump(mode="json")
        said.pop("family", None)
        for name in ("training_config", "data_config"):
            config: BaseModel = getattr(self, name)
            said[name] = config.model_dump(mode="json", exclude_unset=True)
        return {name: value for name, value in said.items() if value is not None}

    @field_validator("job_name")
    @classmethod
    def _valid_name(cls, value: str) -> str:
        if not names.is_job_name(value):
            raise ValueError("must be 1 to 64 of A-Z a-z 0-9 . _ - and not '.' or '..'")
        return value

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Fields of later versions are written where they say something.

        The family is, if it was said, or if a worker of version 0.1.0, which goes by the model's name, would take the
        job for one of another family.
        """
        said: dict[str, Any] = handler(self)
        if "family" not in self.model_fields_set and published_family(self.model) == self.family:
            said.pop("family", None)
        return {name: value for name, value in said.items() if value is not None or name not in _LATER}


MAX_DESCRIPTION: Final = 4000
"""Characters."""
MAX_TAGS: Final = 50
MAX_TAG_KEY: Final = 128
"""Characters."""
MAX_TAG_VALUE: Final = 256
"""Characters."""
MAX_ROW_BYTES: Final = 350_000
"""Bytes of a new row. DynamoDB takes 409,600 (400 KB): the rest is for what a job's life adds, such as its reasons."""

Path = tuple[str, ...]
"""Keys that lead to a value in a job file."""


def too_long(spec: JobSpec[Any, Any]) -> tuple[Path, str] | None:
    """The first part of a job that is too long: where it stands and what is wrong; None for none.

    Stored jobs are not held to it: older versions had no such limits.
    """
    if len(spec.description) > MAX_DESCRIPTION:
        return ("description",), f"has {len(spec.description):,} characters; at most {MAX_DESCRIPTION:,}"
    if len(spec.tags) > MAX_TAGS:
        return ("tags",), f"are {len(spec.tags):,}; at most {MAX_TAGS}"
    for key, value in spec.tags.items():
        if not 1 <= len(key) <= MAX_TAG_KEY:
            return ("tags",), f"have a key of {len(key):,} characters ({key[:20]!r}); 1 to {MAX_TAG_KEY}"
        if len(value) > MAX_TAG_VALUE:
            return ("tags", key), f"has {len(value):,} characters; at most {MAX_TAG_VALUE}"
    return None


def no_text(spec: JobSpec[Any, Any]) -> tuple[Path, str] | None:
    """The first text of a job that cannot be stored, as `too_long`."""
    for path, text in _texts(spec.model_dump()):
        if half := half_character(text):
            return path, f"holds {half}, half a character, which cannot be stored"
    return None


def half_character(text: str) -> str:
    r"""The first lone surrogate of a text as it would be written, such as `\ud800`; "" if it has none."""
    return next((f"\\u{ord(char):04x}" for char in text if "\ud800" <= char <= "\udfff"), "")


def _texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """All texts of plain values, keys among them, with the keys that lead there."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield path, str(key)  # before it leads on: a key that cannot be stored cannot be said either
            yield from _texts(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, path)
