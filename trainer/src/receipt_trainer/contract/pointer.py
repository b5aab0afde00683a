"""The pointer: which model package the servers of a name answer with; `serving/<name>/current.json` of the bucket."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from receipt_trainer.contract.names import JOB_NAME_PATTERN

SERVING_PREFIX: Final = "serving"
POINTER_FILE: Final = "current.json"
DEFAULT_NAME: Final = "default"
"""Of the model that is served where no name is given."""
MAX_PREVIOUS: Final = 20
"""Former models that a pointer knows, newest first."""


def pointer_key(name: str) -> str:
    """Key of a name's pointer in the bucket; ValueError where the name could be a path."""
    if JOB_NAME_PATTERN.fullmatch(name) is None:
        raise ValueError(f"'{name}' is no name: 1 to 64 of A-Z a-z 0-9 . _ -")
    return f"{SERVING_PREFIX}/{name}/{POINTER_FILE}"


class PromotedModel(BaseModel):
    """A package that was put in force, by whom and when."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    package: str = Field(pattern=r"^s3://[a-z0-9.-]+/.+", description="URI of the folder with the manifest")
    manifest_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of manifest.json, which names all other files")
    job_name: str
    job_id: str
    version: str = Field(description="As in the model's answers: job name and the beginning of the model's hash")
    promoted_at: str = Field(description="ISO 8601, UTC")
    promoted_by: str


class Pointer(BaseModel):
    """The model in force and those before it. It is written last: what it names is there."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal[1] = 1
    name: str = Field(max_length=64, description="Name that servers ask for")
    current: PromotedModel
    previous: tuple[PromotedModel, ...] = Field((), description="Former models, the last one first")

    def followed_by(self, model: PromotedModel) -> Self:
        """The pointer with another model in force, this one's among the former."""
        previous = (self.current, *self.previous)[:MAX_PREVIOUS]
        return self.model_copy(update={"current": model, "previous": previous})

    def rolled_back(self, at: str, by: str) -> Self | None:
        """The pointer with the former model in force again and this one's forgotten; None if there is no former one."""
        if not self.previous:
            return None
        former, *rest = self.previous
        again: dict[str, Any] = {"promoted_at": at, "promoted_by": by}
        return self.model_copy(update={"current": former.model_copy(update=again), "previous": tuple(rest)})
