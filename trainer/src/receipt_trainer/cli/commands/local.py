"""`receipt-trainer local`: the stack on this machine, for as long as one wants it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli.options import data_option, json_option, program_option
from receipt_trainer.cli.render import tables
from receipt_trainer.cli.render.tables import show_problems
from receipt_trainer.cli.stack import enter
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.dynamodb.write import import_receipts
from receipt_trainer.data.sources.load import load_receipts
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.local import session as sessions
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.session import Session, ended_by_signals, host
from receipt_trainer.local.stack_config import find_program
from receipt_trainer.training.console import say

if TYPE_CHECKING:
    from receipt_trainer.local.resources import Deployment

NUM_RECEIPTS: Final = 160
STACK: Final = "dev"
START_TIMEOUT_S: Final = 300.0
END_TIMEOUT_S: Final = 90.0
"""The workers get a minute to save their jobs."""
_POLL_S: Final = 0.1
_NOTICES: Final = {
    "spot": "a spot notice: the instance is taken in {warning_s:g} s",
    "rebalance": "a rebalance recommendation",
    "lifecycle": "the notice that its Auto Scaling group ends the instance",
}
_SHOWN: Final = {
    "aws:dynamodb/table:Table": "table",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:sqs/queue:Queue": "queue",
    "aws:ssm/parameter:Parameter": "parameter",
    "aws:efs/fileSystem:FileSystem": "file system",
    "aws:cloudwatch/logGroup:LogGroup": "log group",
    "aws:autoscaling/group:Group": "worker pool",
}
"""The types that people look up by name."""


@click.command("up")
@data_option
@click.option("--receipts", type=click.IntRange(0), default=NUM_RECEIPTS, help="How many to generate.")
@program_option
@click.option("--detach", "-d", is_flag=True, help="Return when it is up; `receipt-trainer local down` ends it.")
def up_command(data: str | None, receipts: int, program: Path | None, detach: bool) -> None:
    """Stand the stack up on an embedded AWS, with receipts in its table; no account, no Docker.

    Ends with Ctrl-C. Until then `--stack local` means it, in every command and every terminal of this user.
    """
    if detach:
        _detach(data, receipts, find_program(program))
        return
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    with ended_by_signals(), stand_up(program, data, receipts, console, details=False):
        console.print("the stack 'local' is up. In any terminal of yours:")
        for words in ("submit-job --stack local --config job.yaml", "start-worker --stack local"):
            console.print(f"  receipt-trainer {words}")
        console.print("  receipt-trainer watch --stack local\nIt ends with: receipt-trainer local down")
        with suppress(SystemExit):
            signal.pause()
        console.print("the local session ends: its workers save their jobs, then all of it goes")


def stand_up(
    program: Path | None, data: str | None, receipts: int, console: Console, *, details: bool = True
) -> AbstractContextManager[Session]:
    """Hold a session with the program's stack `dev`, and receipts in its table, of files or generated.

    Args:
        details: print what was created and what was only recorded.

    Raises:
        UserError: a file cannot be read, which is said before anything stands; or see `find_program` and `host`.
    """
    folder, problems = find_program(program), ProblemLog()
    found: list[Receipt] = []
    if data is not None:
        found = list(load_receipts(data, problems))
        show_problems(problems)
    elif receipts:
        from receipt_trainer.data.synthetic import generate  # an extra, which --data needs not

        found = list(generate(receipts, seed=0))

    def create(cloud: LocalCloud) -> Any:
        from receipt_trainer.local.resources import provision

        started = time.monotonic()
        with console.status("running the stack's program"):
            deployment = provision(folder, cloud, stack=STACK)
        counts = f"{len(deployment.created)} resources created, {len(deployment.recorded)} recorded"
        took = f"{time.monotonic() - started:.1f} s"
        say(console, f"the program of {folder} on the embedded AWS at {cloud.endpoint}: {counts} in {took}")
        if details:
            _show(deployment, console)
        return deployment.outputs

    def fill(session: Session) -> None:
        enter(session)
        problems = ProblemLog()
        done = import_receipts(session.outputs.receipts_table, found, problems)
        show_problems(problems)
        source = data or "the generator"
        say(console, f"{done.written} receipts from {source} are in the receipts table ({done.items_put} items)")

    return host(folder, create, fill)


def _show(deployment: Deployment, console: Console) -> None:
    """What was created, and what was only recorded; by name what people look up, the rest by number."""
    created, recorded = deployment.created, deployment.recorded
    table = tables.table("created", "in the program", "on the embedded AWS")
    for token, kind in _SHOWN.items():
        for resource in created:
            if resource.type == token:
                table.add_row(kind, resource.name, resource.physical)
    console.print(table, soft_wrap=True)
    for heads, found in (
        (("also created", ""), [one.type for one in created if one.type not in _SHOWN]),
        (("only recorded", "(nothing of local mode uses it)"), [one.type for one in recorded]),
    ):
        table = tables.table(*heads)
        table.columns[1].no_wrap = False
        for row in _by_service(found):
            table.add_row(*row)
        console.print(table)
    console.print()


def _by_service(tokens: Iterable[str]) -> list[tuple[str, str]]:
    """`("ec2", "4 Subnet, 1 Vpc")` of tokens such as `aws:ec2/subnet:Subnet`, by service."""
    counts: dict[str, Counter[str]] = {}
    for token in tokens:
        _, module, kind = token.split(":")
        counts.setdefault(module.partition("/")[0], Counter())[kind] += 1
    return [
        (service, ", ".join(f"{count} {kind}" for kind, count in found.most_common()))
        for service, found in sorted(counts.items())
    ]


def _detach(data: str | None, receipts: int, program: Path) -> None:
    """Run the command in a process of its own, and wait until it is up.

    Raises:
        UserError, WorldError: it does not come up; in its own words.
    """
    arguments = ["local", "up", "--receipts", str(receipts), "--program", str(program)]
    arguments += ["--data", data] if data else []
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "receipt_trainer", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the terminal's end and its Ctrl-C are not for it
        )
        try:
            pid = process.pid
            if not _wait(
                lambda: process.poll() is not None or getattr(sessions.find(), "pid", None) == pid, START_TIMEOUT_S
            ):
                raise WorldError(f"the local session did not come up in {START_TIMEOUT_S:g} s")
        except BaseException:
            process.terminate()
            raise
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
        if process.poll() is not None:
            fault = UserError if process.returncode == UserError.exit_code else WorldError
            words = lines[-1] if lines else f"exit code {process.returncode}"
            raise fault(words.removeprefix("error: "))
    click.echo("\n".join(lines))
    click.echo(f"process {sessions.require().pid} holds it", err=True)
    process.returncode = 0  # it continues without us: no complaint about a child that lives


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until `condition` holds, `timeout_s` seconds at most; whether it does."""
    deadline = time.monotonic() + timeout_s
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return holds


@click.command("down")
def down_command() -> None:
    """End the local session: its workers save their jobs and go, and nothing of it is left, models included."""
    found = sessions.find()
    if found is None:
        if sessions.is_held():
            sessions.require()
        sessions.clear()
        click.echo("no local session is running", err=True)
        return
    with suppress(ProcessLookupError):  # it has ended between the two looks
        os.kill(found.pid, signal.SIGTERM)
    if not _wait(lambda: not found.is_live(), END_TIMEOUT_S):
        raise WorldError(f"the local session does not end; its process is {found.pid}")
    click.echo("the local session has ended; nothing of it is left")


@click.command("status")
@json_option
def status_command(as_json: bool) -> None:
    """Show the local session and its workers. Exit code 2 if no session runs."""
    session = sessions.require()
    instances = sessions.instances()
    if as_json:
        said: dict[str, Any] = session.model_dump(mode="json", exclude={"outputs", "environment"})
        tables.print_json(said | {"instances": instances})
        return
    console, outputs = tables.console(), session.outputs
    alive = [one for one in instances if one["alive"]]
    facts = [
        ("process", str(session.pid)),
        ("since", tables.when(session.started_at, utc_now())),
        ("program", session.program),
        ("embedded AWS", session.endpoint),
        ("tables", f"{outputs.receipts_table}, {outputs.jobs_table}, {outputs.instances_table}"),
        ("artifacts", f"s3://{outputs.artifacts_bucket}"),
        ("files", str(sessions.folder())),
    ]
    facts += [("workers", "none; receipt-trainer start-worker --stack local")] if not alive else []
    for one in alive:
        notices = f", notices: {', '.join(one['notices'])}" if one["notices"] else ""
        facts.append(("worker", f"{one['instance_id']}, process {one['pid']}{notices}"))
    tables.print_lines(console, facts)


@click.command("interrupt")
@click.argument("instance", required=False)
@click.option("--kind", type=click.Choice([*_NOTICES]), default="spot", help="Kind of notice.")
@click.option(
    "--warning",
    "warning_s",
    type=click.FloatRange(min=0),
    default=120.0,
    metavar="S",
    help="Of a spot notice: seconds until the instance is taken.",
)
def interrupt_command(instance: str | None, kind: str, warning_s: float) -> None:
    """Interrupt a local worker as EC2 would: it saves its job, hands it back and goes.

    At a rebalance recommendation it saves its job and continues; it leaves only if it has no job.
    INSTANCE is one of `receipt-trainer local status`; needed only where several workers run. The notice is for that
    worker alone: the next one is another instance and resumes the job.
    """
    sessions.require()
    alive = {one["instance_id"]: one for one in sessions.instances() if one["alive"]}
    if not alive:
        raise UserError("no local worker is running; start one with: receipt-trainer start-worker --stack local")
    name = next(iter(alive)) if instance is None and len(alive) == 1 else instance or ""
    if name not in alive:
        what = f"no local worker runs on '{name}'" if name else "several local workers run"
        raise UserError(f"{what}; name one of: {', '.join(alive)}")
    sessions.interrupt(name, kind, warning_s)
    click.echo(f"{name} (process {alive[name]['pid']}) gets {_NOTICES[kind].format(warning_s=warning_s)}")


@click.command("env")
def env_command() -> None:
    """Print the session's variables for a shell: eval "$(receipt-trainer local env)", and the AWS CLI works in it."""
    click.echo(sessions.require().shell())
