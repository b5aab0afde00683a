"""`receipt-trainer local up`: the stack on this machine, for as long as one wants it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

import click

if TYPE_CHECKING:
    from rich.console import Console

    from receipt_trainer.data.receipt import Receipt
    from receipt_trainer.local.session import Session

NUM_RECEIPTS: Final = 160
START_TIMEOUT_S: Final = 300.0
_START_POLL_S: Final = 0.1
_PROGRAM: Final = "from receipt_trainer.cli.receipt_trainer import main; main()"


@click.command("up")
@click.option("--data", metavar="FILES", help="JSON lines of receipts, joined by commas; default: generated ones.")
@click.option(
    "--receipts", type=click.IntRange(0), default=NUM_RECEIPTS, show_default=True, help="How many to generate."
)
@click.option(
    "--program", type=click.Path(path_type=Path), help="Folder of the Pulumi program; default: this one, or the clone."
)
@click.option("--detach", "-d", is_flag=True, help="Return when it is up; `receipt-trainer local down` ends it.")
def command(data: str | None, receipts: int, program: Path | None, detach: bool) -> None:
    """Stand the stack up on an embedded AWS, with receipts in its table; no account, no Docker.

    Ends with Ctrl-C. Until then `--stack local` means it, in every command and every terminal of this user.
    """
    from receipt_trainer.cli import demo_stack

    folder = demo_stack.find_program(program)
    if detach:
        _detach(data, receipts, folder)
        return
    from rich.console import Console

    from receipt_trainer.local.session_server import host

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    found = read(data, receipts)  # before the stack: a file that is not there is said at once
    up = host(
        folder,
        lambda cloud: demo_stack.stand_up(folder, cloud, console, details=False),
        lambda session: fill(session, found, data, console),
    )
    with ended_by_signals(), up as hosted:
        _print_next(console)
        hosted.ended.wait()
        console.print("the local session ends: its workers save their jobs, then all of it goes")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within it, the signals that end a program end it by SystemExit, so that nothing is left behind."""

    def leave(number: int, frame: object) -> NoReturn:
        for other in before:  # a second one would interrupt the clearing up
            signal.signal(other, signal.SIG_IGN)
        sys.exit(128 + number)

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read(data: str | None, receipts: int) -> list[Receipt]:
    """The receipts of the named files, or so many generated ones.

    Raises:
        UserError: a file cannot be read.
    """
    from receipt_trainer.cli.show import show_problems
    from receipt_trainer.data.problems import ProblemLog
    from receipt_trainer.data.sources.load import load_receipts
    from receipt_trainer.data.synthetic import generate

    if data is None:
        return list(generate(receipts, seed=0)) if receipts else []
    problems = ProblemLog()
    found = list(load_receipts(data, problems))
    show_problems(problems)
    return found


def fill(session: Session, found: list[Receipt], source: str | None, console: Console) -> None:
    """Receipts into the session's table, which this process enters by it.

    Raises:
        UserError, WorldError: the table cannot be written.
    """
    from receipt_trainer.cli.show import show_problems
    from receipt_trainer.cli.stack import enter
    from receipt_trainer.data.problems import ProblemLog
    from receipt_trainer.data.sources.dynamodb.write import import_receipts

    enter(session)
    problems = ProblemLog()
    done = import_receipts(session.outputs.receipts_table, found, problems)
    show_problems(problems)
    console.print(
        f"{done.written} receipts from {source or 'the generator'} are in the receipts table ({done.items_put} items)",
        highlight=False,
        markup=False,
    )


def _print_next(console: Console) -> None:
    console.print("the stack 'local' is up. In any terminal of yours:")
    for line in ("submit-job --stack local --config job.yaml", "start-worker --stack local", "watch --stack local"):
        console.print(f"  receipt-trainer {line}")
    console.print("It ends with: receipt-trainer local down")


def _detach(data: str | None, receipts: int, program: Path) -> None:
    """Run the command in a process of its own, and wait until it is up.

    Raises:
        UserError, WorldError: it does not come up; in its own words.
    """
    from receipt_trainer.errors import UserError, WorldError
    from receipt_trainer.local import session as sessions

    arguments = ["local", "up", "--receipts", str(receipts), "--program", str(program)]
    arguments += ["--data", data] if data else []
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the terminal's end and its Ctrl-C are not for it
        )
        try:
            if not wait_for(lambda: process.poll() is not None or _is_up(process.pid), START_TIMEOUT_S):
                raise WorldError(f"the local session did not come up in {START_TIMEOUT_S:g} s")
        except BaseException:
            process.terminate()
            raise
        lines = _lines(said)
        if process.poll() is not None:
            fault = UserError if process.returncode == UserError.exit_code else WorldError
            words = lines[-1] if lines else f"exit code {process.returncode}"
            raise fault(words.removeprefix("error: "))
    found = sessions.require()
    click.echo("\n".join(lines))
    click.echo(f"process {found.pid} holds it", err=True)
    process.returncode = 0  # it goes on without us: no complaint about a child that lives


def _lines(stream: IO[bytes]) -> list[str]:
    stream.seek(0)
    return stream.read().decode(errors="replace").strip().splitlines()


def _is_up(pid: int) -> bool:
    from receipt_trainer.local import session as sessions

    found = sessions.find()
    return found is not None and found.pid == pid


def wait_for(
    condition: Callable[[], bool],
    timeout_s: float,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until `condition` holds, `timeout_s` seconds at most; whether it does."""
    deadline = monotonic() + timeout_s
    while not (holds := condition()) and monotonic() < deadline:
        sleep(_START_POLL_S)
    return holds
