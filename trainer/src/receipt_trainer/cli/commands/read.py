"""`receipt-trainer read`."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli.options import SERVER_OPTIONS, progress_option, server_options
from receipt_trainer.cli.render.tables import progress_bar, show_problems
from receipt_trainer.cli.stack import local_session, outputs, stack_options
from receipt_trainer.contract.names import ENV_ARTIFACTS_BUCKET, ENV_JOBS_TABLE
from receipt_trainer.data.document_set import PROMPT_FILE
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.files import replacing

if TYPE_CHECKING:
    from receipt_trainer.inference.answers_file import AnswersFile
    from receipt_trainer.inference.inputs import Reader
    from receipt_trainer.inference.server_reader import ServerReader

MODEL_HELP: Final = (
    "Folder of a run or of a package, or s3://bucket/.../model/serve. With --server: folder of the model that it "
    f"serves, or the {PROMPT_FILE} of it alone, for the prompt it was trained with."
)
MOST_WORKERS: Final = 8
"""Threads that read where the user names no number."""
MOST_JOBS: Final = 50
"""Finished jobs among which a LayoutLM is looked for."""


@click.command("read")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--model", metavar="MODEL", help=MODEL_HELP)
@server_options
@stack_options
@click.option("--format", metavar="FORMAT", help="Of files with words, where it is not recognised by itself.")
@click.option("--pages", metavar="PAGES", help="Pages of each document to read: 1-3 or 1,4; default: all.")
@click.option(
    "--date-order",
    type=click.Choice(["dmy", "mdy", "ymd"]),
    help="Of dates such as 03/04/2025; default: what the receipt proves, else the model's training dates.",
)
@click.option("--currency", metavar="CODE", help="ISO 4217, where none is printed.")
@click.option(
    "--known",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help='JSON lines {"merchant", "address"}: misread ones are put right by them; default: the model\'s own.',
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a row a document.")
@click.option("--items", is_flag=True, help="With --csv: a row a line item.")
@click.option("--table", "as_table", is_flag=True, help="Print tables to look at.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write here; with JSON, what is there already and has not changed is not read again.",
)
@click.option("--workers", type=click.IntRange(1, 64), help="Threads that read; default: one a processor, at most 8.")
@progress_option
def command(
    inputs: tuple[str, ...],
    model: str | None,
    pages: str | None,
    as_csv: bool,
    items: bool,
    as_table: bool,
    output: Path | None,
    workers: int | None,
    progress: bool | None,
    known: Path | None,
    **options: Any,
) -> None:
    """Read photos, PDFs and files of words: fields, line items and checks, one JSON a document.

    INPUT is an image, a PDF, JSON lines of words, a file of another program (Textract, Tesseract, hOCR, ...), a folder
    with any of them, or - for standard input; with --server images and PDFs alone. The exit code is 1 if a document was
    refused, with a line each on stderr, and 2 if most receipts of our own form cannot be used.
    """
    server = {name: options.pop(name) for name in SERVER_OPTIONS}
    _check_forms(as_csv=as_csv, items=items, as_table=as_table, output=output)
    _check_model(model, server["server"], options["format"])
    with _installed():
        from receipt_trainer.data.sources.foreign import NAMES as FORMATS
        from receipt_trainer.inference import (
            batch,  # brings what reads: mistakes above are found before it takes a second
        )
        from receipt_trainer.inference.answers_file import open_answers
        from receipt_trainer.inference.inputs import Inputs, page_numbers

    files = batch.files_of(inputs, output, photos_only=server["server"] is not None)
    format_name: str | None = options.pop("format")
    if format_name is not None and format_name not in FORMATS:
        raise UserError(f"--format {format_name}: use one of {', '.join(FORMATS)}")
    reader = _reader(model, server, known=known, **options)
    said = {"format": format_name, "pages": pages, "known": known and str(known), **options}
    depends = ",".join(f"{key}={value}" for key, value in said.items() if value)
    refused = 0
    given = Inputs(reader.open_photo, format_name, page_numbers(pages) if pages else None)
    given.suspicion.name = ", ".join(inputs)
    try:
        with ExitStack() as stack:
            kept: AnswersFile | None = None
            if output is not None and not as_csv:
                kept = stack.enter_context(open_answers(output, reader.version, depends))
            if progress is None and output is None and sys.stdout.isatty():
                progress = False  # answers are seen as they come, and a bar would stand between them
            done = stack.enter_context(_bar(len(files), progress))
            found = batch.answers(
                reader,
                given,
                files,
                workers=workers or min(MOST_WORKERS, _usable_cpus()),
                named=inputs,
                photos_only=server["server"] is not None,
                options=depends,
                kept=kept,
                done=done,
            )
            counted = _Counted(stack.enter_context(closing(found)))  # its threads end here, whatever fails
            _write(counted, kept, output, as_csv=as_csv, items=items, as_table=as_table)
            refused = counted.refused
    except KeyboardInterrupt:
        click.echo("stopped" + (f"; the same command goes on with {output}" if output and not as_csv else ""), err=True)
        sys.exit(130)
    given.suspicion.judge(given.problems)
    show_problems(given.problems)
    if output is not None:
        click.echo(f"{counted}; written to {output}", err=True)
    if refused:
        sys.exit(1)


def _check_forms(*, as_csv: bool, items: bool, as_table: bool, output: Path | None) -> None:
    """Refuse forms of the output that exclude each other."""
    if as_csv and as_table:
        raise UserError("--csv and --table exclude each other")
    if items and not as_csv:
        raise UserError("--items needs --csv; in JSON the line items are always there")
    if as_table and output is not None:
        raise UserError("--table is for looking at; --output takes JSON or --csv")


def _check_model(model: str | None, server: str | None, format_name: str | None) -> None:
    """Refuse a call that names no model, or two."""
    if server is None:
        require_stack(model)
    elif format_name is not None:
        raise UserError("--server reads images and PDFs: leave --format out")


def _write(
    answers: Iterable[dict[str, Any]],
    kept: AnswersFile | None,
    output: Path | None,
    *,
    as_csv: bool,
    items: bool,
    as_table: bool,
) -> None:
    """Put answers where they were asked for, in the form that was asked for."""
    if kept is not None:
        for answer in answers:
            kept.write(answer)
    elif as_csv:
        _write_csv(answers, output, items=items)
    elif as_table:
        _show(answers)
    else:
        _write_json(answers)


@contextmanager
def _installed() -> Iterator[None]:
    """What a module needs that is imported here, or one line that says how it is installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("receipt_trainer"):
            raise
        raise UserError(f"{error.name} is not installed: pip install './trainer[read]'") from None


def _reader(model: str | None, server: Mapping[str, Any], **options: Any) -> Reader:
    """Of a model here, of a stack's, or of a server's."""
    if server["server"] is not None:
        return server_reader(model, **server, **options)
    with _installed():
        from receipt_trainer.inference.document_reader import DocumentReader

    return DocumentReader.open(model if model is not None else model_of_stack(), **options)


def server_reader(
    model: str | None,
    *,
    server: str,
    served_model: str | None,
    prompt: str | None,
    max_new_tokens: int,
    patience_s: float | None = None,
    **options: Any,
) -> ServerReader:
    """What `server_options` mean.

    Args:
        model: folder or file that says how the server's model was trained to be asked, see `served_as`.
        options: as of `ServerReader`.

    Raises:
        UserError: the options are wrong, or the server refuses its key.
        WorldError: it cannot be reached.
    """
    from receipt_trainer.data.document import DOCUMENT_SCHEMA, EITHER_SCHEMA, ROWS_SCHEMA
    from receipt_trainer.data.document_set import TrainedAs, served_as

    with _installed():
        from receipt_trainer.inference.document_server import DocumentServer
        from receipt_trainer.inference.server_reader import ServerReader

    trained, schema = TrainedAs(), EITHER_SCHEMA
    if model is not None:
        trained = served_as(Path(model))
        schema = ROWS_SCHEMA if trained.compact_items else DOCUMENT_SCHEMA
    asked = DocumentServer.connect(
        server, served_model, prompt or trained.prompt, max_new_tokens, patience_s=patience_s
    )
    return ServerReader(replace(asked, schema=schema), **options)


def _usable_cpus() -> int:
    """Processors that this process may use; not every system tells which."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Counted:
    """The same answers; refusals are said on stderr and counted."""

    def __init__(self, answers: Iterable[dict[str, Any]]) -> None:
        self._answers, self.read, self.to_review, self.refused = answers, 0, 0, 0

    def __str__(self) -> str:
        refused = f", {self.refused} refused" if self.refused else ""
        return f"{self.read} documents read, {self.to_review} of them to look at{refused}"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for answer in self._answers:
            self.read += "error" not in answer
            self.to_review += bool(answer.get("review"))
            if "error" in answer:
                self.refused += 1
                click.echo(f"{answer['source']['file']}: not read: {answer['error']}", err=True)
            yield answer


@contextmanager
def _bar(total: int, progress: bool | None) -> Iterator[Callable[[], None]]:
    """A bar of files, where there are several."""
    count = 0
    with progress_bar("read", progress if total > 1 else False) as callback:

        def done() -> None:
            nonlocal count
            count += 1
            if callback is not None:
                callback(count, total)

        yield done


def _write_json(answers: Iterable[dict[str, Any]]) -> None:
    with _stdout() as out:
        for answer in answers:
            out.write(json.dumps(answer, ensure_ascii=False) + "\n")
            out.flush()


def _write_csv(answers: Iterable[dict[str, Any]], output: Path | None, *, items: bool) -> None:
    from receipt_trainer.cli.render.answers import write_csv

    with _stdout() if output is None else replacing(output) as out:
        write_csv(out, answers, items=items)


def _show(answers: Iterable[dict[str, Any]]) -> None:
    from rich.console import Console

    from receipt_trainer.cli.render.answers import WIDTH, show

    console = Console(width=WIDTH, highlight=False)
    for number, answer in enumerate(answers):
        if number:
            console.print()
        show(console, answer)


@contextmanager
def _stdout() -> Iterator[IO[str]]:
    """Standard output in UTF-8, whatever the locale says; bytes of file names that are none become escapes of JSON."""
    stream = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", errors="backslashreplace", write_through=True)
    try:
        yield stream
    except BrokenPipeError:
        raise  # who reads has seen enough
    except OSError as error:
        raise WorldError(f"standard output cannot be written: {error.strerror or error}") from None
    finally:
        stream.detach()


def require_stack(model: str | None) -> None:
    """UserError: no model is given, and no stack is named from which it could be taken."""
    if model is None and outputs() is None and local_session() is None:
        raise UserError(
            "which model? give --model RUN (a run's folder, a package, s3://...), --server URL, or --stack NAME"
        )


def model_of_stack() -> str | Path:
    """The model that a stack's pointer names, on disk; without a pointer that of the newest finished job.

    Raises:
        UserError: the stack has no model.
        WorldError: it cannot be downloaded.
    """
    from receipt_trainer.contract.pointer import DEFAULT_NAME
    from receipt_trainer.serving.model_cache import ModelCache
    from receipt_trainer.serving.pointer_store import PointerStore

    if bucket := os.environ.get(ENV_ARTIFACTS_BUCKET):
        store = PointerStore(bucket, DEFAULT_NAME)
        if found := store.find():
            model = found.pointer.current
            click.echo(f"model: {model.version}, promoted {model.promoted_at[:10]} by {model.promoted_by}", err=True)
            lease = ModelCache(store.uri).lease(model)
            lease.close()  # what was fetched last is the last to be removed
            return lease.folder
    table = os.environ.get(ENV_JOBS_TABLE)
    if not table:
        raise UserError("the stack names no jobs table; give --model")
    place = newest_model(table)
    click.echo(f"model: {place}", err=True)
    return place


def newest_model(table: str) -> str:
    """Where the newest finished LayoutLM job of a jobs table has left its model.

    Raises:
        UserError: none has finished with one.
    """
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.dynamo import Table
    from receipt_trainer.jobs.rows import Wanted, find, get_job, spec_of

    jobs = Table(clients.dynamodb(), table)
    for row in find(jobs, Wanted(status="SUCCEEDED"), limit=MOST_JOBS):
        family = spec_of(get_job(jobs, row["job_id"])).get("family", "layoutlm")
        if family == "layoutlm" and row.get("artifacts"):
            return str(row["artifacts"])
    raise UserError("no job of this stack has finished with a LayoutLM model; train one: receipt-trainer submit-job")
