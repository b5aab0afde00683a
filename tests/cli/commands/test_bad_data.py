"""Data as people have them: every command that reads a file tells the same of it, or stops with the same words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from receipt_trainer.cli.layoutlm import group as layoutlm_cli
from receipt_trainer.cli.receipt_trainer import group
from receipt_trainer.contract.names import CORE_LABELS
from receipt_trainer.data.problems import ABOUT_LABELS, ProblemKind
from receipt_trainer.data.sources.record import to_record
from receipt_trainer.data.synthetic import generate
from receipt_trainer.errors import UserError
from receipt_trainer.inference.document_reader import DocumentReader
from receipt_trainer.models.layoutlm.family import LayoutLMTask
from tests.cli.jobs import Caller, Said
from tests.data.sources.samples import quad
from tests.inference.told import ToldModel
from tests.packages import make_model

Record = dict[str, Any]
FILE: Final = "mine.jsonl"
RECORDS: Final[list[Record]] = [to_record(receipt) for receipt in generate(6, 3)]
ON_LABELS: Final = ABOUT_LABELS | {ProblemKind.LABEL_PREFIX_STRIPPED, ProblemKind.UNKNOWN_LABEL}
LABEL_READERS: Final = ("check", "label-counts", "train", "evaluate", "import")
WORD_READERS: Final = ("predict", "read")


class Case(NamedTuple):
    """What stands in the file.

    Attributes:
        write: makes its content of sound receipts.
        counts: the problems that are told, by their kind.
        refusal: what is said where the file stops the command.
        is_about_labels: it stops only those that need labels.
    """

    write: Callable[[list[Record]], str]
    counts: dict[ProblemKind, int] = {}  # noqa: RUF012
    refusal: str = ""
    is_about_labels: bool = False


def labelled(*labels: str) -> int:
    """Words that bear one of these."""
    return sum(word["label"] in labels for record in RECORDS for word in record["words"])


def lines(records: list[Record]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def of_words(changed: Callable[[Record, Record], Record], **more: Any) -> Callable[[list[Record]], str]:
    """A file in which each word is changed, given the word and its record."""

    def write(records: list[Record]) -> str:
        return lines([one | {"words": [changed(word, one) for word in one["words"]]} | more for one in records])

    return write


def boxed(changed: Callable[[list[float], float, float], object]) -> Callable[[list[Record]], str]:
    """A file with other boxes, given the box, the width and the height."""
    return of_words(lambda word, one: word | {"box": changed(word["box"], one["width"], one["height"])})


def renamed(source: str, **labels: str) -> Callable[[list[Record]], str]:
    """A file of a public data set with its own names of labels."""
    return of_words(lambda word, _: word | {"label": labels.get(word["label"], "O")}, source=source)


def columns(records: list[Record]) -> str:
    words = {"words": "text", "bboxes": "box", "ner_tags": "label"}
    for one in records:
        given = one.pop("words")
        one |= {
            column: [len(word[key]) if column == "ner_tags" else word[key] for word in given]
            for column, key in words.items()
        }
    return lines(records)


def ids(records: list[Record]) -> str:
    for n, one in enumerate(records):
        one["id"] = 17 + n
    return lines([*records[:-1], records[-1] | {"width": None, "id": "sizeless"}])


def swapped(records: list[Record]) -> str:
    return lines([one | {"width": one["height"], "height": one["width"]} for one in records])


def bioes(records: list[Record]) -> str:
    return of_words(lambda word, _: word | {"label": word["label"] if word["label"] == "O" else f"S-{word['label']}"})(
        records
    )


NUMBERED = Case(lines, refusal="is a number: say the labels' names", is_about_labels=True)
GUESSED = {ProblemKind.LINES_GUESSED: len(RECORDS)}
CASES: Final[dict[str, Case]] = {
    "FUNSD's own names": Case(
        renamed("funsd", MERCHANT_NAME="HEADER", DATE="ANSWER"),
        {ProblemKind.UNKNOWN_LABEL: labelled("MERCHANT_NAME", "DATE")},
    ),
    "SROIE's own names": Case(
        renamed("sroie", MERCHANT_NAME="COMPANY", GRAND_TOTAL="TOTAL"),
        {ProblemKind.UNKNOWN_LABEL: labelled("MERCHANT_NAME")},
    ),
    "byte-order mark": Case(lambda records: "\ufeff" + lines(records)),
    "newline in a word": Case(
        lambda records: lines(records).replace('"text": "', '"text": "TOTAL\\n', 1),
        {ProblemKind.TEXT_CHANGED: 1},
    ),
    "lines as floats": Case(of_words(lambda word, _: word | {"line": float(word["line"])})),
    "BIOES": Case(bioes, {ProblemKind.LABEL_PREFIX_STRIPPED: labelled(*CORE_LABELS)}),
    "tags behind labels": Case(
        of_words(lambda word, _: word | {"label": f"{word['label']}_B".removeprefix("O_B")}),
        {ProblemKind.LABEL_PREFIX_STRIPPED: labelled(*CORE_LABELS)},
    ),
    "labels in lists": Case(
        of_words(lambda word, _: word | {"label": [word["label"]]}), {ProblemKind.LABEL_IN_LIST: labelled(*CORE_LABELS)}
    ),
    "fractions": Case(boxed(lambda b, w, h: [b[0] / w, b[1] / h, b[2] / w, b[3] / h]), refusal="fractions of the page"),
    "x, y, width, height": Case(
        boxed(lambda b, w, h: [b[0], b[1], b[2] - b[0], b[3] - b[1]]), refusal="x, y, width, height"
    ),
    "page too large": Case(
        lambda records: lines([one | {"width": 4 * one["width"], "height": 4 * one["height"]} for one in records]),
        {ProblemKind.BOXES_DOUBTFUL: 1},
    ),
    "sides swapped": Case(swapped, {ProblemKind.PAGE_SIZE_SWAPPED: len(RECORDS)}),
    "quads": Case(boxed(lambda b, w, h: quad(b))),
    "labels as numbers": NUMBERED._replace(
        write=of_words(lambda word, _: word | {"label": len(word["label"])}),
    ),
    "columns with numbers": NUMBERED._replace(write=columns, counts=GUESSED),
    "PPOCRLabel's words": Case(
        of_words(
            lambda word, _: {
                "transcription": word["text"],
                "points": quad(word["box"]),
                "key_cls": word["label"],
            }
        ),
        GUESSED,
    ),
    "array": Case(json.dumps),
    "numbers as ids, one without a size": Case(ids, {ProblemKind.BAD_RECORD: 1}),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "RUN")


@pytest.fixture
def commands(
    model: Path,
    receipts_table: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> dict[str, Callable[[], Said]]:
    """Each command that reads a file of receipts; training stops when it has told of the data."""

    def stop(*_: object) -> None:
        raise UserError("the data are read")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARTIFACTS_BUCKET", raising=False)
    monkeypatch.setattr(LayoutLMTask, "build", stop)
    monkeypatch.setattr(DocumentReader, "open", lambda place, **options: DocumentReader(ToldModel(), **options))  # type: ignore[arg-type]
    ours, layoutlm = Caller(capsys, group), Caller(capsys, layoutlm_cli)
    return {
        "check": lambda: ours("receipts", "check", FILE, "--no-html"),
        "label-counts": lambda: layoutlm("label-counts", "--dataset", FILE, "--model", "tiny"),
        "train": lambda: layoutlm("train", "--dataset", FILE, "--model", "tiny", "--output-dir", "run", "--restart"),
        "evaluate": lambda: layoutlm("evaluate", "--dataset", FILE, "--model", model),
        "import": lambda: ours("receipts", "import", FILE, "--dynamo-table", receipts_table, "--dry-run"),
        "predict": lambda: layoutlm("predict", "--input", FILE, "--model", model, "--output", "labels.jsonl"),
        "read": lambda: ours("read", FILE, "--model", model, "--output", "answers.jsonl"),
    }


def told(said: Said) -> set[str]:
    """The lines on problems: counts, likely causes and examples."""
    starts = (*(f"{kind}: " for kind in ProblemKind), "likely: ")
    return {line.strip() for line in (said.out + said.err).splitlines() if line.strip().startswith(starts)}


def counts(lines: set[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        kind, _, rest = line.partition(": ")
        if rest.endswith((" (kept)", " (left out)")):
            yield kind, int(rest.partition(" ")[0])


@pytest.mark.parametrize("name", CASES)
def test_every_command_tells_the_same(name: str, commands: dict[str, Callable[[], Said]]) -> None:
    """The same counts, examples and causes, without those on labels where labels do not matter; or the same refusal."""
    case = CASES[name]
    Path(FILE).write_text(case.write(deepcopy(RECORDS)))
    for readers, on_labels in ((LABEL_READERS, True), (WORD_READERS, False)):
        said = {command: commands[command]() for command in readers}
        if case.refusal and (on_labels or not case.is_about_labels):
            for command, one in said.items():
                assert one.code == 2, command
                assert case.refusal in " ".join((one.out + one.err).split()), command
            continue
        found = {command: told(one) for command, one in said.items()}
        assert len(set(map(frozenset, found.values()))) == 1, found
        wanted = {kind: count for kind, count in case.counts.items() if on_labels or kind not in ON_LABELS}
        on_edges = (ProblemKind.BOX_CLIPPED, ProblemKind.BOX_OUTSIDE_PAGE)  # how many depends on the pages
        counted = dict(counts(found[readers[0]]))
        assert {kind: count for kind, count in counted.items() if kind not in on_edges} == wanted, found
        assert {command for command, one in said.items() if one.code} <= {"train", "check", "read"}
        assert all("the data are read" in said[command].err for command in readers if command == "train")
