"""`receipt-trainer serve`: the reader over HTTP, and its page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli.commands.promote import command as promote_command
from receipt_trainer.cli.commands.read import MODEL_HELP, newest_model, require_stack, server_reader
from receipt_trainer.cli.options import FILE, SERVER_OPTIONS, server_options
from receipt_trainer.cli.stack import outputs, require_outputs, stack_options
from receipt_trainer.contract.pointer import DEFAULT_NAME
from receipt_trainer.errors import UserError
from receipt_trainer.files import write_atomically

if TYPE_CHECKING:
    from receipt_trainer.inference.document_corrections import DocumentCorrections
    from receipt_trainer.serving.access import Access
    from receipt_trainer.serving.corrections import Corrections
    from receipt_trainer.serving.holder import Holder, ServerHolder
    from receipt_trainer.serving.review import ReviewQueue

CORRECTIONS: Final = "corrections.jsonl"
DOCUMENT_CORRECTIONS: Final = "document-corrections.jsonl"
"""The default with --server: lines of one family are of no use to the other."""
_FIRST_LOOK_S: Final = 5.0
"""What the model has read of the receipts to review after so long is in order when the page opens."""


@click.group("serve", invoke_without_command=True)
@click.option("--model", metavar="MODEL", help=MODEL_HELP)
@click.option("--name", metavar="NAME", default=DEFAULT_NAME, help="Of the stack's model: what was promoted as that.")
@click.option("--host", default="127.0.0.1", help="Address to listen on; beyond loopback a token is needed.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port to listen on; 0: a free one.")
@click.option("--no-browser", is_flag=True, help="Do not open the page in a browser.")
@click.option("--token-file", type=FILE, metavar="FILE", help="The SHA-256 of the token that requests must bear.")
@click.option("--token-parameter", metavar="NAME", help="The same in a parameter of SSM.")
@click.option("--output", type=FILE, metavar="FILE", help=f"Where corrections go: JSON lines; default: {CORRECTIONS}.")
@click.option("--review", type=FILE, metavar="FILE", help="Receipts to look at, the least sure first.")
@server_options
@stack_options
@click.option("--corrections", is_flag=True, help="With --stack: review and correct the receipts of its table.")
@click.option("--keep-photos", is_flag=True, help="With --corrections: keep their photos in the stack's bucket, too.")
@click.option("--workers", type=click.IntRange(1, 64), help="Documents read at a time; default: one a processor.")
@click.option(
    "--date-order", type=click.Choice(["dmy", "mdy", "ymd"]), help="Of dates such as 03/04/2025; as of `read`."
)
@click.option("--currency", metavar="CODE", help="ISO 4217, where none is printed.")
@click.option("--known", type=FILE, metavar="FILE", help="Merchants and addresses by which misread ones are put right.")
@click.pass_context
def group(context: click.Context, /, model: str | None, **options: Any) -> None:
    """Answer over HTTP what `read` answers on files, and show a page on which a person corrects it.

    With --stack the model that was promoted last answers, also when that changes; with --server a model on a server,
    of photos and PDFs.
    """
    if context.invoked_subcommand is None:
        _serve(model, **options)


group.add_command(promote_command)


@group.command("token")
@click.argument("file", type=FILE)
def token_command(file: Path) -> None:
    """Make a token: it is printed once, and FILE gets its SHA-256 for --token-file."""
    from receipt_trainer.serving.access import new_token

    if file.exists():
        raise UserError(f"{file} is there already; a new token is made in a new file")
    token, hashed = new_token()
    try:
        write_atomically(file, f"{hashed}\n".encode())
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror or error}") from None
    click.echo(token)
    click.echo(f"the server keeps only its hash: receipt-trainer serve --token-file {file}", err=True)


def _serve(
    model: str | None,
    *,
    name: str,
    host: str,
    port: int,
    no_browser: bool,
    token_file: Path | None,
    token_parameter: str | None,
    output: Path | None,
    review: Path | None,
    corrections: bool,
    keep_photos: bool,
    workers: int | None,
    known: Path | None,
    **reading: Any,
) -> None:
    asked = {option: reading.pop(option) for option in SERVER_OPTIONS}
    if asked["server"] is None:
        require_stack(model)
    elif review or corrections or keep_photos:
        raise UserError(
            "--server answers with documents, whose corrections go to --output: leave --review, --corrections and "
            "--keep-photos out"
        )
    _check_places(review, corrections=corrections, keep_photos=keep_photos)
    from receipt_trainer.serving import server
    from receipt_trainer.serving.app import ServerLimits, create_app

    access = _access(host, token_file, token_parameter)
    with server.listen(host, port) as listener:  # before the model is loaded: a port that is in use is told at once
        holder: Holder | ServerHolder
        kept: Corrections | DocumentCorrections | None
        queue: ReviewQueue | None = None
        if asked["server"] is not None:
            holder, kept = _of_server(model, output or Path(DOCUMENT_CORRECTIONS), known=known, **asked, **reading)
        else:
            holder = _holder(model, name, known=known, **reading)
            file = output or Path(CORRECTIONS)
            kept, queue = _of_table(holder, keep_photos=keep_photos) if corrections else _of_file(holder, file, review)
        app = create_app(
            holder,
            corrections=kept,
            review=queue,
            keep_photos=keep_photos,
            access=access,
            limits=ServerLimits(workers=workers) if workers else None,
        )
        click.echo(f"{server.url_of(listener)} answers with {holder.current().version}; Ctrl+C ends it", err=True)
        if queue is not None:
            _begin(queue)
        try:
            server.run(app, listener, open_browser=not no_browser)
        finally:
            if queue is not None:
                queue.close()


def _begin(queue: ReviewQueue) -> None:
    """Let a queue read its receipts, and say how far it is after a moment."""
    queue.start()
    queue.is_read.wait(_FIRST_LOOK_S)
    num_read, total = queue.progress
    others = "; the others follow" if num_read < total else ""
    click.echo(f"{num_read} of {total} receipts to review are read{others}{queue.problems.said()}", err=True)


def _check_places(review: Path | None, *, corrections: bool, keep_photos: bool) -> None:
    """Refuse options that exclude each other, before a model is loaded."""
    if corrections and outputs() is None:
        raise UserError("--corrections is for a stack's receipts table: give --stack NAME; without, see --output")
    if corrections and review is not None:
        raise UserError("--review FILE is not for --corrections, which reviews the stack's table: import the file")
    if review is not None and not review.exists():
        raise UserError(f"--review {review}: no such file")
    if keep_photos and not corrections:
        raise UserError("--keep-photos needs --stack NAME and --corrections: photos are kept in the stack's bucket")


def _of_table(holder: Holder, *, keep_photos: bool) -> tuple[Corrections, ReviewQueue]:
    """Where corrections go and what is reviewed with --corrections: the table of the stack."""
    from receipt_trainer.serving.table_corrections import TableCorrections, queue_of_table

    found = require_outputs()
    bucket = found.artifacts_bucket if keep_photos else None
    return TableCorrections(found.receipts_table, bucket=bucket), queue_of_table(holder, found.receipts_table)


def _of_file(holder: Holder, output: Path, review: Path | None) -> tuple[Corrections | None, ReviewQueue | None]:
    """Where corrections go and what is reviewed without --corrections: files, and with a stack nothing."""
    from receipt_trainer.serving.corrections import FileCorrections
    from receipt_trainer.serving.review import queue_of_file

    if review is not None:
        queue, receipts = queue_of_file(holder, review, output)
        return FileCorrections(output, known=receipts), queue
    return (FileCorrections(output) if outputs() is None else None), None


def _of_server(model: str | None, output: Path, **options: Any) -> tuple[ServerHolder, DocumentCorrections]:
    """What answers with --server, and where its corrections go."""
    from receipt_trainer.inference.document_corrections import DocumentCorrections
    from receipt_trainer.serving.app import ServerLimits
    from receipt_trainer.serving.holder import ServerHolder

    kept = DocumentCorrections(output)
    return ServerHolder(server_reader(model, patience_s=ServerLimits().photo_deadline_s, **options)), kept


def _holder(model: str | None, name: str, **options: Any) -> Holder:
    """Of the model that is given, else of what is promoted as that name; the newest job's until the first promotion."""
    from receipt_trainer.serving.holder import Holder

    if model is not None:
        return Holder.fixed(model, name=name, **options)
    found = require_outputs()
    newest = partial(newest_model, found.jobs_table) if name == DEFAULT_NAME else None
    return Holder.following(found.artifacts_bucket, name, until_promoted=newest, **options)


def _access(host: str, file: Path | None, parameter: str | None) -> Access:
    from receipt_trainer.serving.access import Access, is_loopback, parse_hash

    if file is not None and parameter is not None:
        raise UserError("--token-file and --token-parameter exclude each other")
    if file is not None:
        try:
            return Access(parse_hash(file.read_text("ascii"), f"--token-file {file}"))
        except (OSError, UnicodeDecodeError) as error:
            said = getattr(error, "strerror", None) or "not a text"
            raise UserError(f"--token-file {file}: {said}; make it with: receipt-trainer serve token {file}") from None
    if parameter is not None:
        return Access(parse_hash(_parameter(parameter), f"--token-parameter {parameter}"))
    if not is_loopback(host):
        raise UserError(
            f"--host {host} is not loopback, so a token is needed: receipt-trainer serve token FILE; --token-file FILE"
        )
    return Access()


def _parameter(name: str) -> str:
    from receipt_trainer.aws import clients

    with clients.aws_faults(f"read the parameter {name}"):
        value = clients.read_parameter(clients.ssm(), name)
    if value is None:
        raise UserError(f"--token-parameter {name}: SSM has no such parameter in this region")
    return value
