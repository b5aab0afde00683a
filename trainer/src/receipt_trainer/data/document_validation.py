"""All that is wrong with a data set, line by line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from receipt_trainer.data import document as schemas
from receipt_trainer.data.amount_checks import sum_problems
from receipt_trainer.data.document_set import ExampleError, VlExample, example_lines, make_example, record_problems
from receipt_trainer.errors import UserError

_LONGEST_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class LineProblem:
    """A problem: the line from 1, the field (dots lead into the answer), and why."""

    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.reason}"


@dataclass(slots=True)
class Counts:
    """Counts of what has been checked so far. `longest` counts tokens, where they are counted."""

    lines: int = 0
    sound: int = 0
    problems: int = 0
    longest: int = 0


Measure = Callable[[VlExample], int]
"""Tokens of an example, prompt, image and answer together; raises ExampleError where the model cannot take it."""


@dataclass(slots=True)
class Validation:
    """Checks one file in one pass; memory grows with the ids alone.

    Attributes:
        path: JSON lines; images are relative to its folder.
        schema: what every answer must be; sums are checked under any schema, where the canonical keys are there.
        measure: counts the tokens of an example; None: lengths are not checked.
        max_tokens: most that `measure` may give.
    """

    path: Path
    schema: dict[str, Any] = field(default_factory=lambda: schemas.DOCUMENT_SCHEMA)
    measure: Measure | None = None
    max_tokens: int = 2048
    counts: Counts = field(default_factory=Counts)
    _ids: dict[str, int] = field(default_factory=dict)
    _validator: Any = None

    def problems(self) -> Iterator[LineProblem]:
        """Every problem of every line, in order; `counts` goes along.

        Raises:
            UserError: the file cannot be read, or the schema refers to what is not in it.
        """
        self._validator = schemas.make_validator(self.schema)
        no_json: list[LineProblem] | None = []  # until a line is JSON: that none is takes one sentence
        for line in example_lines(self.path):
            self.counts.lines += 1
            problems = [
                LineProblem(line.row, place, schemas.printable(reason[:_LONGEST_REASON]))
                for place, reason in ([("line", line.error)] if line.error else self._line(line.row, line.value))
            ]
            self.counts.problems += len(problems)
            self.counts.sound += not problems
            if line.error and no_json is not None:
                no_json += problems
                continue
            yield from no_json or ()
            no_json = None
            yield from problems
        if no_json:
            others = f"; nor is any of the {len(no_json) - 1} others" if len(no_json) > 1 else ""
            yield replace(no_json[0], reason=no_json[0].reason + others)
        if not self.counts.lines:
            self.counts.problems += 1
            yield LineProblem(0, "file", "no example in it")

    def _line(self, row: int, record: Any) -> Iterator[tuple[str, str]]:
        found = record_problems(record)
        yield from found
        if not isinstance(record, dict):
            return
        broken = {name for name, _ in found}
        readable = "image" not in broken
        if readable:
            reason = image_problem(self.path.parent / record["image"])
            readable = reason is None
            if reason is not None:
                yield "image", f"{record['image'][:80]!r}: {reason}"
        if "id" not in broken and "image" not in broken:
            yield from self._identity(row, record.get("id") or record["image"])
        if "output" not in broken:
            yield from self._output(record["output"])
        if readable and not broken & {"output", "id", "instruction", "input", "difficulty"}:
            yield from self._length(make_example(record, self.path.parent))

    def _identity(self, row: int, name: str) -> Iterator[tuple[str, str]]:
        first = self._ids.setdefault(name, row)
        if first != row:
            yield "id", f"{name[:80]!r} is that of line {first}"

    def _output(self, output: str | dict[str, Any]) -> Iterator[tuple[str, str]]:
        try:
            document = _decode(output.encode()) if isinstance(output, str) else output
            found = [*schemas.problems_by(self._validator, document)]
            if isinstance(document, dict):
                found += sum_problems(document)
        except (ValueError, RecursionError) as error:
            yield "output", str(error)
            return
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("referencing", "jsonschema"):
                raise
            raise UserError(f"the schema cannot be used: {str(error)[:200]}") from None
        for place, reason in found:
            yield "output" if place == "document" else f"output.{place}", reason

    def _length(self, example: VlExample) -> Iterator[tuple[str, str]]:
        if self.measure is None:
            return
        try:
            tokens = self.measure(example)
        except ExampleError as error:
            yield error.field, error.reason
            return
        self.counts.longest = max(self.counts.longest, tokens)
        if tokens > self.max_tokens:
            yield "output", f"{tokens} tokens with image and instruction, the sequence has {self.max_tokens}"


def _decode(line: bytes) -> Any:
    """JSON from UTF-8.

    Raises:
        ValueError: one line that says why not.
    """
    try:
        return schemas.decoded(line.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte {error.start + 1}") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except ValueError as error:
        raise ValueError(f"not JSON that can be read: {error}") from None


def image_problem(path: Path) -> str | None:
    """Why an image cannot be used, decoding all of it; None if it can."""
    from receipt_trainer.pages.images import is_blank, open_image

    try:
        image = open_image(path, "image")
    except UserError as error:
        return schemas.printable(str(error).removeprefix("image: "))
    return "shows nothing: all its pixels are alike" if is_blank(image) else None


def load_schema(path: Path) -> dict[str, Any]:
    """A JSON Schema from a file.

    Raises:
        UserError: it cannot be read or is no schema.
    """
    from jsonschema.exceptions import SchemaError

    try:
        found = _decode(path.read_bytes())
        if not isinstance(found, dict):
            raise UserError(f"{path}: not a JSON Schema: not an object")
        schemas.make_validator(found)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except SchemaError as error:
        where = schemas.dotted(error.absolute_path)
        raise UserError(f"{path}: not a JSON Schema: {where}: {error.message[:200]}") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return found
