"""`receipt-trainer doctor`: what a first day trips over, each with the command that mends it."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import boto3
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receipt_trainer.aws import clients
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli import options, stack
from receipt_trainer.cli.render import tables
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.doctor import examination, pulumi_state
from receipt_trainer.doctor.examination import CHECKS, Check, not_looked_at
from receipt_trainer.doctor.findings import Finding, one_line
from receipt_trainer.doctor.subject import Subject, read_settings
from receipt_trainer.errors import UserError, WorldError

_REST = "Not looked at"
_STYLES = {"ok": "green", "warning": "yellow", "failure": "bold red"}


@click.command("doctor")
@click.argument("jobs", metavar="[JOB.yaml]...", nargs=-1, type=options.PATH)
@click.option("--stack", "stack_name", metavar="NAME", help="Look at this Pulumi stack, too, also before its first up.")
@click.option("--outputs", "saved", metavar="FILE", type=options.PATH, help="Instead of --stack: its saved outputs.")
@click.option(
    "--heal", is_flag=True, help="Instead: send a new message to jobs of the stack that wait without one; up to 5 min."
)
@options.json_option
@click.pass_context
def command(
    context: click.Context,
    jobs: tuple[Path, ...],
    stack_name: str | None,
    saved: Path | None,
    heal: bool,
    as_json: bool,
) -> None:
    """Look at this machine, the AWS account, a stack and job files, and report problems with their remedies.

    Without --heal nothing is changed. The exit code is 1 if anything fails; a right that you lack is a warning that
    names it.
    """
    if heal:
        if jobs or (stack_name is None and saved is None):
            raise UserError("--heal takes --stack NAME (or --outputs FILE), and no job file")
        _heal(_subject(stack_name, saved, ()), as_json=as_json)
        return
    for path in jobs:
        if not path.is_file():
            raise UserError(f"{path}: no such job file")
    found = _subject(stack_name, saved, jobs)

    taken = examination.examine(found)
    levels = _print_json(found, taken) if as_json else _print(found, taken)
    context.exit(1 if levels["failure"] else 0)


def _subject(stack_name: str | None, saved: Path | None, jobs: tuple[Path, ...]) -> Subject:
    """The subject of the checks; also sets the region for our commands in the environment."""
    if stack_name is not None and saved is not None:
        raise UserError("--stack and --outputs are two ways to name one stack; give one of them")
    if stack_name == stack.LOCAL:
        raise UserError("--stack local has no account to look at; `receipt-trainer local status` shows the session")

    folder = Path.cwd()
    settings = read_settings(folder, stack_name) if stack_name else {}
    outputs = stack.load(saved) if saved else None
    if stack_name:
        try:
            outputs = StackOutputs.parse(pulumi_state.read_outputs(stack_name))
        except (WorldError, ValueError):
            outputs = None  # no pulumi, no stack, or none that stands: checks say which
    environment = os.environ.get(names.ENV_DEFAULT_REGION) or os.environ.get(names.ENV_REGION)
    configured = environment or boto3.session.Session().region_name
    region = outputs.region if outputs else settings.get("aws:region") or configured
    given = f" --stack {shlex.quote(stack_name)}" if stack_name else ""
    if saved:
        given = f" --outputs {shlex.quote(str(saved))}"
    return Subject(utc_now(), folder, stack_name, outputs, given, region, configured, settings, jobs)


def _heal(found: Subject, *, as_json: bool) -> None:
    """What is found and done goes to the standard output, with `as_json` only what was done.

    Raises:
        UserError: the stack has no outputs.
        WorldError: something could not be done; all else is.
    """

    from receipt_trainer.doctor.workers_and_jobs import heal

    if found.outputs is None:
        raise UserError(f"stack {found.stack} has no outputs: it is not up, or pulumi cannot read them")
    os.environ.update(found.outputs.environment_variables())

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    with Console(stderr=True).status("looking ...") as status:
        done = heal(found.outputs, clients.dynamodb(), clients.sqs(), say, status.update)
    if as_json:
        tables.print_json({"sent": done.sent, "moved": done.moved, "not_done": list(done.faults)})
    if done.faults:
        faults = "; ".join(f"{at}: {one_line(error)}" for at, error in done.faults.items())
        raise WorldError(f"{faults}; all else is done: give the command again for the rest")


def _print(found: Subject, taken: Iterable[tuple[Check, list[Finding]]]) -> Counter[str]:
    console, counts, group = tables.console(), Counter[str](), ""
    with Console(stderr=True).status("looking ...") as status:
        for number, (check, findings) in enumerate(taken, 1):
            status.update(f"looking: {number} of {len(CHECKS)}, {check.name}")
            for finding in findings:
                _print_finding(console, "" if check.group == group else check.group, finding)
                group = check.group
                counts[finding.level] += 1
    for at, finding in enumerate(not_looked_at(found)):
        _print_finding(console, _REST if at == 0 else "", finding)
        counts[finding.level] += 1
    console.print()
    console.print(f"{counts['ok']} ok, {counts['warning']} to look at, {counts['failure']} failed")
    return counts


def _print_finding(console: Console, heading: str, finding: Finding) -> None:
    """One finding; commands are not cut, however narrow the terminal, to be copied."""
    if heading:
        console.print(Text(heading, style="bold"))
    _print_row(console, Text(f"  {finding.level}", style=_STYLES[finding.level]), Text(finding.text))
    for remedy in finding.remedies:
        if remedy.endswith("."):
            _print_row(console, Text(), Text(remedy, style="dim"))
        else:
            console.print(Text(f"           $ {remedy}"), soft_wrap=True)


def _print_row(console: Console, level: Text, text: Text) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=9)
    grid.add_column(overflow="fold")
    grid.add_row(level, text)
    console.print(grid)


def _print_json(found: Subject, taken: Iterable[tuple[Check, list[Finding]]]) -> Counter[str]:
    all_findings = [(check.group, check.name, one) for check, findings in taken for one in findings]
    all_findings += [(_REST, "", one) for one in not_looked_at(found)]
    counts = Counter(str(one.level) for *_, one in all_findings)
    lines = [
        {"group": group, "check": name, "level": one.level, "found": one.text, "remedies": list(one.remedies)}
        for group, name, one in all_findings
    ]
    said = {"stack": found.stack, "region": found.region, "account": found.account or None, "findings": lines}
    tables.print_json(said | {"counts": {level: counts[level] for level in _STYLES}})
    return counts
