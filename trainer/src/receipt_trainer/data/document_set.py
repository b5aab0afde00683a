"""Images with their instruction and their answer, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from receipt_trainer.config.paddleocr_vl import DEFAULT_PROMPT, INSTRUCTION
from receipt_trainer.contract.names import MODEL_DIR, RUN_FILE
from receipt_trainer.data.document import canonical_json, decoded, not_finite, printable, read_strictly, to_rows
from receipt_trainer.data.sources.jsonl import CODE_PAGE, JsonLine, lines_of
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    import numpy as np

ALL_FIELDS: Final = "{}"
"""Ends a prompt that names no field: all are asked for."""
PROMPT_FILE: Final = "receipt_trainer_prompt.json"
"""A `TrainedAs` in JSON, beside the weights of a model that was trained here."""

KEYS: Final = frozenset({"id", "image", "instruction", "input", "output", "difficulty"})


class ExampleError(UserError):
    """An example that no model of the family can be given.

    Attributes:
        id: of the example.
        field: of the example that is to blame.
        reason: why.
    """

    def __init__(self, id: str, field: str, reason: str) -> None:
        """All three are part of the message."""
        self.id, self.field, self.reason = id, field, reason
        super().__init__(f"example {printable(id)}: {field}: {reason}")


@dataclass(frozen=True, slots=True)
class VlExample:
    """One image, what is asked about it and what is to be answered.

    Attributes:
        id: unique in its file.
        image: path that can be opened.
        instruction: what is asked; "": what the model was trained with, see `with_prompt`.
        input: what else is given besides the image, often "".
        output: the answer, JSON as text.
        difficulty: 0 (easy) to 1 (hard), for a curriculum; None where it is not given.
    """

    id: str
    image: Path
    instruction: str
    input: str
    output: str
    difficulty: float | None = None


def read_examples(path: Path) -> list[VlExample]:
    """The examples of a JSON lines file, in order; images are not opened.

    Raises:
        UserError: the file cannot be read, a line is no example (which line, which field), or an id stands twice.
    """
    found: list[VlExample] = []
    lines: dict[str, int] = {}
    for line in example_lines(path):
        place = path.parent / line.place
        if line.error:
            raise UserError(f"{place}: {line.error}")
        problems = record_problems(line.value) or answer_problems(line.value["output"])
        if problems:
            field, reason = problems[0]
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise UserError(f"{place}: {field}: {reason}{more}; `receipt-trainer vl validate-dataset` lists all")
        example = make_example(line.value, path.parent)
        if example.id in lines:
            raise UserError(f"{place}: id: {example.id!r} is that of line {lines[example.id]}")
        lines[example.id] = line.row
        found.append(example)
    if not found:
        raise UserError(f"{path}: no example in it")
    return found


def example_lines(path: Path) -> Iterator[JsonLine]:
    """The lines that are not blank, or what stands in one JSON, as receipts are read; what is no Unicode is an error.

    Raises:
        UserError: the file cannot be read.
    """
    for line in lines_of(path, "cannot be read"):
        yield replace(line, value=None, error="not UTF-8") if line.encoding == CODE_PAGE else line


def record_problems(record: Any) -> list[tuple[str, str]]:
    """Why a decoded line is no example, as (field, reason); empty if it is one. Looks at no file."""
    if not isinstance(record, dict):
        return [("line", "not an object")]
    found = [(printable(key[:80]), "unknown key") for key in sorted(record.keys() - KEYS)]
    image = record.get("image")
    if not is_text(image) or not image.strip():
        found.append(("image", "missing" if image is None else "not a path"))
    elif leaves_folder(image):
        found.append(("image", f"{image[:80]!r} leaves the folder of the data set; paths are relative to it"))
    texts = [key for key in ("instruction", "input", "id") if record.get(key) is not None]
    found += [(key, "not a text") for key in texts if not is_text(record[key])]
    output = record.get("output")
    if not (is_text(output) if isinstance(output, str) else isinstance(output, dict)):
        found.append(("output", "missing" if record.get("output") is None else "neither JSON text nor an object"))
    difficulty = record.get("difficulty")
    if difficulty is not None and (
        isinstance(difficulty, bool) or not isinstance(difficulty, int | float) or not 0 <= difficulty <= 1
    ):
        found.append(("difficulty", "not a number from 0 to 1"))
    return found


def answer_problems(output: str | dict[str, Any]) -> list[tuple[str, str]]:
    """Why an answer cannot be taught: an object that is no JSON, as (field, reason). Other texts may be answers."""
    try:
        answer = decoded(output) if isinstance(output, str) and output.lstrip().startswith("{") else output
    except (ValueError, RecursionError) as error:
        return [("output", f"not JSON: {error}")]
    return [(f"output.{path}", "not a finite number") for path in not_finite(answer, "")]


def is_text(value: Any) -> TypeGuard[str]:
    """Whether a value is a text that can be written as UTF-8 (half a surrogate pair cannot)."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def leaves_folder(image: str) -> bool:
    """Whether a path is absolute, steps out of the folder that it is relative to, or can be no path."""
    parts = PurePosixPath(image.replace("\\", "/"))
    drive = len(image) > 1 and image[1] == ":"
    return parts.is_absolute() or drive or ".." in parts.parts or "\0" in image


def make_example(record: dict[str, Any], folder: Path) -> VlExample:
    """A line without `record_problems` as an example; without an id it is called as its image."""
    output = record["output"]
    difficulty = record.get("difficulty")
    return VlExample(
        id=record.get("id") or record["image"],
        image=folder / record["image"],
        instruction=record.get("instruction") or "",
        input=record.get("input") or "",
        output=output if isinstance(output, str) else canonical_json(output),
        difficulty=None if difficulty is None else float(difficulty),
    )


def to_line(example: VlExample, folder: Path) -> str:
    """An example as one line with its end, its image relative to `folder`.

    Raises:
        ValueError: the image is not under `folder`.
    """
    record: dict[str, Any] = {
        "id": example.id,
        "image": example.image.relative_to(folder).as_posix(),
        **{name: text for name in ("instruction", "input") if (text := getattr(example, name))},
        "output": example.output,
    }
    if example.difficulty is not None:
        record["difficulty"] = example.difficulty
    return json.dumps(record, ensure_ascii=False) + "\n"


def with_prompt(examples: Sequence[VlExample], prompt: str) -> list[VlExample]:
    """The examples, with `prompt` as the instruction of those that have none of their own."""
    return [one if one.instruction else replace(one, instruction=prompt) for one in examples]


def asked_for(prompt: str, names: Iterable[str]) -> str:
    """A prompt that ends in {}, which asks for all fields, asking for these: `OCR:{"date":"","grand_total":""}`."""
    return prompt.removesuffix(ALL_FIELDS) + _compact(dict.fromkeys(names, ""))


def with_some_fields(example: VlExample, draw: np.random.Generator) -> VlExample:
    """An example that asks for some of its answer's fields, at most half, so that it is no longer than before.

    As it is where its instruction does not end in {} or its answer has less than two fields.
    """
    document = read_strictly(example.output) or {}
    if not example.instruction.endswith(ALL_FIELDS) or len(document) < 2:
        return example
    count = int(draw.integers(1, len(document) // 2 + 1))
    chosen = sorted(draw.choice(len(document), count, replace=False).tolist())
    names = [list(document)[place] for place in chosen]
    part: dict[str, Any] = {name: document[name] for name in names}
    answer = _compact(to_rows(part) if to_rows(document) == json.loads(example.output) else part)
    return replace(example, instruction=asked_for(example.instruction, names), output=answer)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def in_rows(answer: str) -> str:
    """The text of an answer with its line items as rows; one that has none, as it is."""
    document = read_strictly(answer) or {}
    rows = to_rows(document)
    text = _compact(rows)
    return text if rows != document and is_text(text) else answer


@dataclass(frozen=True, slots=True)
class TrainedAs:
    """How a model was trained to be asked and to answer.

    Attributes:
        prompt: what it is asked where a document has no instruction.
        compact_items: it writes line items as rows.
    """

    prompt: str = DEFAULT_PROMPT
    compact_items: bool = False

    def to_json(self) -> str:
        """The content of `PROMPT_FILE`."""
        form = {"compact_items": True} if self.compact_items else {}
        return json.dumps({"prompt": self.prompt, **form}, ensure_ascii=False) + "\n"


def trained_as(path: Path) -> TrainedAs:
    """How a model is asked: as it is stored with it, else as 0.1.0 asked its own, else as the published one is asked.

    Args:
        path: folder of a model, an adapter or a run; anything else counts as a published model.

    Raises:
        UserError: the file with it is broken.
    """
    folder = _model_folder(path)
    if (folder / PROMPT_FILE).is_file():
        return _stored(folder / PROMPT_FILE)
    was_trained = (folder / "adapter_config.json").is_file() or (folder.parent / RUN_FILE).is_file()
    return TrainedAs(INSTRUCTION if was_trained else DEFAULT_PROMPT)


def served_as(path: Path) -> TrainedAs:
    """As `trained_as`, of what must be such a model, perhaps without its weights, or of the file with its prompt alone.

    Raises:
        UserError: it is neither, or the file is broken.
    """
    if path.is_file() and path.name == PROMPT_FILE:
        return _stored(path)
    folder = _model_folder(path)
    if (folder / PROMPT_FILE).is_file() or (folder / "adapter_config.json").is_file():
        return trained_as(path)
    try:
        kind = json.loads((folder / "config.json").read_bytes()).get("model_type")
    except (OSError, ValueError, AttributeError):
        kind = None
    if kind != "paddleocr_vl":
        raise UserError(
            f"{path}: no model of PaddleOCR-VL: name its folder, of a run, an adapter or a merged one, or {PROMPT_FILE}"
        )
    return trained_as(path)


def _model_folder(path: Path) -> Path:
    """Of a run the folder with its model."""
    inner = path / MODEL_DIR
    return inner if inner.is_dir() and not (path / "config.json").is_file() else path


def _stored(path: Path) -> TrainedAs:
    try:
        values = json.loads(path.read_bytes())
        return TrainedAs(str(values["prompt"]), values.get("compact_items") is True)
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f'{path}: not JSON with a "prompt"') from None


NAMES: Final = ("test.jsonl", "val.jsonl")
"""Files that are taken, in this order, where a folder has several."""


def read_test_set(path: Path, limit: int | None = None) -> list[VlExample]:
    """The examples of a file, or of the data set in a folder; the first `limit` of them.

    Raises:
        UserError: no such folder, none or too many data sets in it, or a broken line.
    """
    examples = read_examples(find_test_file(path))
    return examples if limit is None else examples[:limit]


def find_test_file(path: Path) -> Path:
    """The JSON lines file of a folder: one of `NAMES`, or the only one."""
    if not path.is_dir():
        return path
    for name in NAMES:
        if (path / name).is_file():
            return path / name
    found = sorted(path.glob("*.jsonl"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"{path}: there is no data set in it (a file that is called *.jsonl)")
    raise UserError(f"{path}: name one of its data sets: {', '.join(one.name for one in found[:5])}")
