"""`receipt-trainer serve`: the reader over HTTP, and its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from receipt_trainer.cli.options import FILE
from receipt_trainer.errors import UserError


@click.group("serve", invoke_without_command=True)
@click.option("--model", metavar="MODEL", help="Folder of a run or of a package, or s3://bucket/.../model/serve.")
@click.option("--host", default="127.0.0.1", help="Address to listen on; beyond loopback a token is needed.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port to listen on; 0: a free one.")
@click.option("--no-browser", is_flag=True, help="Do not open the page in a browser.")
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Documents read at the same time; default: one a processor."
)
@click.option(
    "--date-order", type=click.Choice(["dmy", "mdy", "ymd"]), help="Of dates such as 03/04/2025; as of `read`."
)
@click.option("--currency", metavar="CODE", help="ISO 4217, where none is printed.")
@click.option("--known", type=FILE, metavar="FILE", help="Merchants and addresses by which misread ones are put right.")
@click.pass_context
def group(context: click.Context, model: str | None, **options: Any) -> None:
    """Answer over HTTP what `read` answers on files, and show a page on which a person corrects it."""
    if context.invoked_subcommand is None:
        _serve(model, **options)


def _serve(
    model: str | None,
    host: str,
    port: int,
    *,
    no_browser: bool,
    workers: int | None,
    known: Path | None,
    **reading: Any,
) -> None:
    if model is None:
        raise UserError("which model? give --model RUN (a run's folder, a package, s3://...)")
    from receipt_trainer.serving import server
    from receipt_trainer.serving.app import create_app
    from receipt_trainer.serving.holder import Holder

    with server.listen(host, port) as listener:
        holder = Holder.fixed(model, known=known, **reading)
        app = create_app(holder, workers=workers or 2)
        click.echo(f"{server.url_of(listener)} answers with {holder.current().version}; Ctrl+C ends it")
        server.run(app, listener, open_browser=not no_browser)
