"""`receipt-trainer jobs`."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from rich.console import Console

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli.commands.jobs import parse_since
from receipt_trainer.cli.render import jobs, tables
from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.tables import attempt_sk, iso, job_pk
from receipt_trainer.contract.waiting import JobQueuePlace, Look
from receipt_trainer.jobs.rows import STATES
from tests.cli.jobs import NOON, Caller, add_job
from tests.cli.test_stack import exported
from tests.fault_proxy import FaultProxy


def test_the_states_to_choose_from_are_all(jobs_table: str) -> None:
    """`--status` knows, and has a colour for, each state of a job, and no other."""
    assert set(jobs.STATUS_STYLES) == set(STATES)


def test_json_has_the_same_keys_for_every_job(jobs_table: str, call: Caller) -> None:
    """A script finds each key in each job, null where there is nothing, newest first."""
    old = add_job(jobs_table, name="old", status="SUCCEEDED", f1=0.5)
    new = add_job(jobs_table, name="new", minutes=1, max_failures=3)
    said = call("jobs", "--json").json
    assert [job["job_id"] for job in said] == [new, old]
    assert all(tuple(job) == (*jobs.LIST_KEYS, *jobs.SPENT) for job in said)
    assert (said[1]["f1"], said[0]["f1"]) == (0.5, None)


def test_filters_reach_the_table(jobs_table: str, call: Caller) -> None:
    """State (in any case), name, pool and time are filters, and what is left out by `--limit` is said."""
    wanted = add_job(jobs_table, name="a", status="FAILED", minutes=60)
    add_job(jobs_table, name="a", status="FAILED", pool="cpu", minutes=61)
    add_job(jobs_table, name="a", status="FAILED")
    add_job(jobs_table, name="a", minutes=62)
    add_job(jobs_table, name="b", status="FAILED", minutes=63)
    filters = ("--status", "failed", "--name", "a", "--pool", "gpu", "--since", "2026-11-20T12:30")
    assert [job["job_id"] for job in call("jobs", "--json", *filters).json] == [wanted]
    said = call("jobs", "--limit", "2")
    assert said.out.count("\n") == 3
    assert "more than these 2" in said.err


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_table_says_what_a_person_needs(
    columns: str, jobs_table: str, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enough of the id to name the job by, its state and its age, also on a narrow screen."""
    monkeypatch.setenv("COLUMNS", columns)
    one = add_job(jobs_table, job_id="aaaaaaaa-aaaa-1", name="first", status="RUNNING", cancel_requested=True)
    add_job(jobs_table, job_id="aaaaaaaa-aaaa-2", name="x\x1b[31m", status="FAILED", reason="no CUDA", f1="none")
    out = call("jobs").out
    assert one in out
    assert ("RUNNING (cancelling)" if columns == "200" else " (cancelling) ") in out
    assert "\x1b" not in out
    assert all(len(line) <= int(columns) for line in out.splitlines())
    assert ("no CUDA" in out) == (columns == "200")


def test_a_screen_of_120_columns_shows_what_goes_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """Pool, failures, last change and reason have room there, whatever the row; what has none is named."""
    row = {"job_id": "54bb5281-af17", "name": "a-rather-long-job-name", "status": "INTERRUPTED", "pool": "gpu"}
    row |= {"attempt": 3, "num_failures": 1, "max_failures": 3, "f1": 0.5, "reason": "the disk of the worker is full"}
    row |= {"created_at": iso(NOON - timedelta(minutes=9)), "updated_at": iso(NOON), "spent_usd": 12.5, "spent_s": 9e3}
    jobs.print_jobs(console := Console(width=120), [row], NOON)
    said = capsys.readouterr()
    assert said.out.split("\n")[0].split() == (
        ["id", "name", "state", "pool", "failures", "F1", "spent", "expected", "created", "changed", "reason"]
    )
    assert "the disk of" in said.out
    assert all(len(line) <= console.width for line in said.out.splitlines())
    assert said.err == "no room for attempts: a wider terminal or --json has them\n"


def test_no_job_is_said_and_is_no_error(jobs_table: str, call: Caller) -> None:
    """An empty list is an empty list for a script, and a sentence on stderr for a person."""
    assert call("jobs", "--json").json == []
    assert call("jobs") == (0, "", "no such job\n")


def test_the_stacks_outputs_name_the_table(
    jobs_table: str, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--outputs` nothing else has to be named."""
    job_id = add_job(jobs_table)
    saved = tmp_path / "outputs.json"
    saved.write_text(json.dumps(exported("receipts") | {"jobs_table": jobs_table}))
    monkeypatch.setenv("JOBS_TABLE_NAME", "another")
    for name in ("DYNAMO_TABLE_NAME", "INSTANCE_REGISTRY_TABLE_NAME", "ARTIFACTS_BUCKET"):
        monkeypatch.setenv(name, "restored-after-the-test")
    assert [job["job_id"] for job in call("jobs", "--json", "--outputs", str(saved)).json] == [job_id]


MISTAKES = {
    "other table": (["jobs", "--jobs-table", "nowhere"], ["nowhere"]),
    "time before time": (["jobs", "--since", "999999999w"], ["999999999w"]),
    "unknown job": (["job-status", "nobody", "--jobs-table", "TABLE"], ["nobody", "receipt-trainer jobs"]),
}


@pytest.mark.parametrize(("arguments", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_name_what_is_allowed(
    arguments: list[str], said: list[str], jobs_table: str, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake ends with exit code 2, names itself and what would do, and prints nothing on stdout."""
    monkeypatch.delenv("JOBS_TABLE_NAME")
    done = call(*(jobs_table if argument == "TABLE" else argument for argument in arguments))
    assert (done.code, done.out) == (2, "")
    assert all(words in done.err for words in said), done.err


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T18:00", datetime(2026, 11, 20, 18, tzinfo=UTC)),
        ("2026-11-20T18:00+02:00", datetime(2026, 11, 20, 16, tzinfo=UTC)),
    ],
)
def test_dates_are_utc_unless_they_say_otherwise(text: str, moment: datetime) -> None:
    """A date without a zone is UTC, as all times that are shown."""
    assert parse_since(text) == moment


@pytest.mark.parametrize("text", ["", "h", "12H", "-3h", "3 h", "3y", "٣h", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Nothing that could mean two things is taken for a time."""
    with pytest.raises(click.BadParameter):
        parse_since(text)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "now"), (59, "59 s ago"), (60, "1 min ago"), (7199, "1 h ago"), (172800, "2 d ago"), (-240, "in 4 min")],
)
def test_ages(seconds: int, said: str) -> None:
    """An age is told in its largest unit, never rounded up; a time to come too."""
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    then = datetime.fromtimestamp(now.timestamp() - seconds, UTC)
    assert tables.ago(then.isoformat(), now) == said


def test_ids_are_cut_where_all_still_differ() -> None:
    """What is shown of ids is enough to tell them apart, and to name the jobs by."""
    assert jobs.id_length(["aaaaaaaa-1", "bbbbbbbb-1"]) == 8
    assert jobs.id_length(["aaaaaaaa-1", "aaaaaaaa-2"]) == 10
    assert jobs.id_length(["short"]) == 5


def test_what_jobs_have_spent_is_read_in_one_request(jobs_table: str, call: Caller, fault_proxy: FaultProxy) -> None:
    """Attempts of all listed jobs by their keys; a job shows its dollars beside those that were expected."""
    rows = []
    for number in range(8):
        known = {"status": "SUCCEEDED", "attempt": 2, "expected_s": 1200.0, "expected_usd": 0.25}
        job_id = add_job(jobs_table, minutes=number, **known)
        for attempt, minute in ((1, 0), (2, 30)):
            began = NOON + timedelta(minutes=minute)
            row = {"PK": job_pk(job_id), "SK": attempt_sk(attempt), "job_id": job_id, "attempt": attempt}
            row |= {"started_at": iso(began), "ended_at": iso(began + timedelta(minutes=10)), "price_usd_per_h": 0.6}
            rows.append(row)
    dynamo.batch_write(clients.dynamodb(), jobs_table, "put attempts", puts=rows)
    fault_proxy.calls.clear()
    said = call("jobs", "--json").json
    assert fault_proxy.calls["BatchGetItem"] == 1
    assert {(job["spent_s"], round(job["spent_usd"], 6), job["expected_usd"]) for job in said} == {(1200.0, 0.2, 0.25)}
    line = call("jobs", "--limit", "1").out.splitlines()[-1]
    assert "$0.20" in line
    assert "$0.25" in line


def test_jobs_without_a_message_are_said_in_one_request(jobs_table: str, call: Caller, fault_proxy: FaultProxy) -> None:
    """What the stack's function saw minutes ago stands below the list, with the command that mends it at once; what
    it saw an hour ago, or where nothing is missing, is not said. It takes one request more."""
    add_job(jobs_table)
    now, client = utc_now(), clients.dynamodb()
    look = Look("cpu-normal", now - timedelta(minutes=4), 3, 1, 2, now - timedelta(minutes=4))
    others = [replace(look, queue="old", at=now - timedelta(hours=1)), replace(look, queue="ok", short_since=None)]
    for number, one in enumerate([look, *others]):
        waiting_calls.keep(client, jobs_table, JobQueuePlace("cpu", "normal", f"https://sqs/{number}.fifo"), one)
    fault_proxy.calls.clear()
    assert call("jobs").err.splitlines() == [
        "3 jobs wait and 1 is taken in cpu-normal, 2 messages: they get a new one within ten minutes, or at once by "
        "`receipt-trainer doctor --heal`"
    ]
    assert fault_proxy.calls["Query"] == len(STATES) + 1
    assert call("jobs", "--json").err == ""
