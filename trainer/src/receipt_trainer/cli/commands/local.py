"""`receipt-trainer local`: the stack on this machine, for as long as one wants it."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

import click
from rich.console import Console
from rich.table import Table

import receipt_trainer
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli import options
from receipt_trainer.cli.render import tables
from receipt_trainer.cli.render.progress import show_problems
from receipt_trainer.cli.stack import enter
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.dynamodb.write import import_receipts
from receipt_trainer.data.sources.load import load_receipts
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.local import session as sessions
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.session import Session
from receipt_trainer.local.session_server import host
from receipt_trainer.local.stack_config import read_yaml

if TYPE_CHECKING:
    from receipt_trainer.local.resources import Deployment

NUM_RECEIPTS: Final = 160
START_TIMEOUT_S: Final = 300.0
_START_POLL_S: Final = 0.1


@click.command("up")
@click.option("--data", metavar="FILES", help="JSON lines of receipts, joined by commas; default: generated ones.")
@click.option(
    "--receipts", type=click.IntRange(0), default=NUM_RECEIPTS, show_default=True, help="How many to generate."
)
@click.option(
    "--program", type=click.Path(path_type=Path), help="Folder of the Pulumi program; default: this one, or the clone."
)
@click.option("--detach", "-d", is_flag=True, help="Return when it is up; `receipt-trainer local down` ends it.")
def up_command(data: str | None, receipts: int, program: Path | None, detach: bool) -> None:
    """Stand the stack up on an embedded AWS, with receipts in its table; no account, no Docker.

    Ends with Ctrl-C. Until then `--stack local` means it, in every command and every terminal of this user.
    """

    folder = find_program(program)
    if detach:
        _detach(data, receipts, folder)
        return

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    found = read(data, receipts)  # before the stack: a file that is not there is said at once
    up = host(
        folder,
        lambda cloud: stand_up(folder, cloud, console, details=False),
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

    if data is None:
        from receipt_trainer.data.synthetic import generate  # an extra, which --data needs not

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
            if not wait_for(lambda: process.poll() is not None or _is_up(process.pid), START_TIMEOUT_S):
                raise WorldError(f"the local session did not come up in {START_TIMEOUT_S:g} s")
        except BaseException:
            process.terminate()
            raise
        lines = _lines_of(said)
        if process.poll() is not None:
            fault = UserError if process.returncode == UserError.exit_code else WorldError
            words = lines[-1] if lines else f"exit code {process.returncode}"
            raise fault(words.removeprefix("error: "))
    found = sessions.require()
    click.echo("\n".join(lines))
    click.echo(f"process {found.pid} holds it", err=True)
    process.returncode = 0  # it continues without us: no complaint about a child that lives


def _lines_of(stream: IO[bytes]) -> list[str]:
    stream.seek(0)
    return stream.read().decode(errors="replace").strip().splitlines()


def _is_up(pid: int) -> bool:
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


TIMEOUT_S: Final = 90.0
"""The workers get a minute to save their jobs."""


@click.command("down")
def down_command() -> None:
    """End the local session: its workers save their jobs and go, and nothing of it is left, models included."""

    root = sessions.home()
    found = sessions.find(root)
    if found is None:
        if sessions.is_held(root):
            sessions.require(root)
        sessions.clear(root)
        click.echo("no local session is running", err=True)
        return
    sessions.end(found)
    if not wait_for(lambda: not found.is_live(root), TIMEOUT_S):
        raise WorldError(f"the local session does not end; its process is {found.pid}")
    click.echo("the local session has ended; nothing of it is left")


@click.command("status")
@options.json_option
def status_command(as_json: bool) -> None:
    """Show the local session and its workers. Exit code 2 if no session runs."""

    session = sessions.require()
    instances = sessions.instances(session)
    if as_json:
        said: dict[str, Any] = session.model_dump(mode="json", exclude={"outputs", "environment"})
        tables.print_json(said | {"instances": instances})
        return
    console = tables.console()
    outputs = session.outputs
    facts = [
        ("process", str(session.pid)),
        ("since", tables.when(session.started_at, utc_now())),
        ("program", session.program),
        ("embedded AWS", session.endpoint),
        (
            "tables",
            f"{outputs.receipts_table}, {outputs.jobs_table}, {outputs.instances_table}",
        ),
        ("artifacts", f"s3://{outputs.artifacts_bucket}"),
        ("files", str(sessions.folder())),
    ]
    tables.print_lines(console, facts)
    alive = [one for one in instances if one["alive"]]
    tables.print_lines(console, [("workers", str(len(alive)))])
    for one in alive:
        notices = f", notices: {', '.join(one['notices'])}" if one["notices"] else ""
        console.print(f"    {one['instance_id']}  process {one['pid']}{notices}", soft_wrap=True)


KINDS: Final = ("spot", "rebalance", "lifecycle")
_WORDS: Final = {
    "spot": "a spot notice: the instance is taken in {warning_s:g} s",
    "rebalance": "a rebalance recommendation",
    "lifecycle": "the notice that its Auto Scaling group ends the instance",
}


@click.command("interrupt")
@click.argument("instance", required=False)
@click.option("--kind", type=click.Choice(KINDS), default="spot", show_default=True, help="Kind of notice.")
@click.option(
    "--warning",
    "warning_s",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    metavar="S",
    help="Of a spot notice: seconds until the instance is taken.",
)
def interrupt_command(instance: str | None, kind: str, warning_s: float) -> None:
    """Interrupt a local worker as EC2 would: it saves its job, hands it back and goes.

    At a rebalance recommendation it saves its job and continues; it leaves only if it has no job.
    INSTANCE is one of `receipt-trainer local status`; needed only where several workers run. The notice is for that
    worker alone: the next one is another instance and resumes the job.
    """

    session = sessions.require()
    chosen = _choose(sessions.instances(session), instance)
    sessions.interrupt(session, chosen["instance_id"], kind, warning_s)
    said = _WORDS[kind].format(warning_s=warning_s)
    click.echo(f"{chosen['instance_id']} (process {chosen['pid']}) gets {said}")


def _choose(instances: list[dict[str, Any]], named: str | None) -> dict[str, Any]:
    """The named one, or the only one.

    Raises:
        UserError: no worker runs, none is called so, or several run and none is named.
    """

    alive = {one["instance_id"]: one for one in instances if one["alive"]}
    if not alive:
        raise UserError("no local worker is running; start one with: receipt-trainer start-worker --stack local")
    if named is None and len(alive) == 1:
        return next(iter(alive.values()))
    if named not in alive:
        what = f"no local worker runs on '{named}'" if named else "several local workers run"
        raise UserError(f"{what}; name one of: {', '.join(alive)}")
    return alive[named]


@click.command("env")
def env_command() -> None:
    """Print the session's variables for a shell: eval "$(receipt-trainer local env)", and the AWS CLI works in it."""

    click.echo(sessions.require().shell())


STACK: Final = "dev"

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


def find_program(given: Path | None) -> Path:
    """The folder of the stack's program: the given one, else this one, else the clone that we are installed from.

    Raises:
        UserError: there is none; or what running it needs is not installed.
    """
    if importlib.util.find_spec("pulumi_aws") is None:
        raise UserError("the stack's program needs pulumi: pip install 'receipt-trainer[local]'")

    clone = Path(receipt_trainer.__file__).parents[3]  # <clone>/trainer/src/receipt_trainer
    candidates = [given] if given else [Path.cwd(), clone]
    for folder in candidates:
        if read_yaml(folder / "Pulumi.yaml").get("name") == names.PROJECT:
            return folder.resolve()
    where = f"--program {given}" if given else "here"
    raise UserError(
        f"{where}: no Pulumi.yaml named {names.PROJECT}; run it in a clone of the repository, or give --program"
    )


def stand_up(folder: Path, cloud: LocalCloud, console: Console, *, details: bool = True) -> StackOutputs:
    """Run the program for the stack `dev`, and say so; the outputs.

    Args:
        details: print what was created and what was only recorded.
    """
    from receipt_trainer.local.resources import provision

    started = time.monotonic()
    with console.status("running the stack's program"):
        deployment = provision(folder, cloud, stack=STACK)
    console.print(
        f"stack {STACK} of {folder} on the embedded AWS at {cloud.endpoint}: {len(deployment.created)} resources "
        f"created, {len(deployment.recorded)} recorded in {time.monotonic() - started:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    if details:
        _show_created(deployment, console)
        _show_recorded(deployment, console)
    return deployment.outputs


def _show_created(deployment: Deployment, console: Console) -> None:
    table = Table("created", "in the program", "on the embedded AWS", box=None, pad_edge=False)
    for token, kind in _SHOWN.items():
        for resource in deployment.created:
            if resource.type == token:
                table.add_row(kind, resource.name, resource.physical)
    console.print(table, highlight=False, soft_wrap=True)
    table = Table("also created", "", box=None, pad_edge=False)
    for service, kinds in _by_service(one.type for one in deployment.created if one.type not in _SHOWN).items():
        table.add_row(service, kinds)
    console.print(table, highlight=False)


def _show_recorded(deployment: Deployment, console: Console) -> None:
    table = Table("only recorded", "(nothing of local mode uses it)", box=None, pad_edge=False)
    for service, kinds in _by_service(one.type for one in deployment.recorded).items():
        table.add_row(service, kinds)
    console.print(table, highlight=False)
    console.print()


def _by_service(tokens: Iterable[str]) -> dict[str, str]:
    """`{"ec2": "4 Subnet, 1 Vpc"}` of tokens such as `aws:ec2/subnet:Subnet`."""
    counts: dict[str, Counter[str]] = {}
    for token in tokens:
        _, module, kind = token.split(":")
        counts.setdefault(module.partition("/")[0], Counter())[kind] += 1
    return {
        service: ", ".join(f"{count} {kind}" for kind, count in counts[service].most_common())
        for service in sorted(counts)
    }
