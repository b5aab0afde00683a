"""Basis of all configurations: strict models, and one explanation of pydantic's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from receipt_trainer.contract.job import number_only
from receipt_trainer.errors import UserError

Model = TypeVar("Model", bound=BaseModel)

_SHOWN: Final = 80


class Strict(BaseModel):
    """A configuration: no unknown key, no NaN, no `yes` for a number, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    added: ClassVar[frozenset[str]] = frozenset()
    """Fields that version 0.1.0 does not know. With their defaults, which therefore never change, they are not written:
    its workers, which refuse unknown keys, can take a job that does not use them, and digests stay the same."""

    @model_serializer(mode="wrap")
    def _without_added(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        fields = type(self).model_fields
        unused = {name for name in self.added if getattr(self, name) == fields[name].default}
        return {name: value for name, value in values.items() if name not in unused}

    @field_validator("*", mode="before")
    @classmethod
    def _numbers(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[info.field_name or ""].annotation
        return number_only(value) if {int, float} & {kind, *get_args(kind)} else value


def parse(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Validate `values`.

    Raises:
        UserError: one line that names every wrong field, what is wrong, and the known fields for an unknown one.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(f"{where}: {'; '.join(explain(model, item) for item in error.errors())}") from None


def explain(model: type[BaseModel], item: Any, below: int = 0) -> str:
    """One of pydantic's errors in a line.

    Args:
        item: of `ValidationError.errors()`.
        below: keys that lead to the value and are left out of its name.
    """
    is_own_text = item["type"] == "value_error" and len(item["loc"]) <= below  # it names its fields itself
    path = ".".join(str(part) for part in item["loc"][below:] or item["loc"])
    name = path if path.isprintable() else repr(path)[1:-1]
    if item["type"] == "extra_forbidden":
        return f"unknown key '{name}' (known: {', '.join(sorted(_model_at(model, item['loc']).model_fields))})"
    message = str(item["msg"]).removeprefix("Value error, ").partition(" or instance of ")[0]
    if is_own_text or not path:
        return message
    shown = "" if item["type"] in ("missing", "value_error") else f", not {_short(item['input'])}"
    if item["type"] == "string_type" and isinstance(item["input"], bool):
        shown += " (YAML reads yes, no, on and off so: write quotes around the text)"
    return f"{name}: {message[:1].lower()}{message[1:]}{shown}"


def section_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model of a field that is a section, or may be one; None for another field, and where there is none."""
    field = model.model_fields.get(name)
    kinds = [field.annotation, *get_args(field.annotation)] if field is not None else []
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _model_at(model: type[BaseModel], loc: Sequence[Any]) -> type[BaseModel]:
    """The model in which the last key of `loc` was looked for."""
    for key in loc[:-1]:
        model = section_of(model, str(key)) or model
    return model


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
