"""Times of a run, and its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.chaos import times
from tests.chaos.invariants import Evidence
from tests.chaos.journal import Injected
from tests.chaos.plan import KINDS, LOSSES, NOTICES


def to_release_s(evidence: Evidence, kind: str | None = None) -> list[float]:
    """Seconds from a notice to the message that others can have."""
    found = [one for one in evidence.journal.injected if one.released_at is not None and kind in (None, one.kind)]
    return [one.released_at - one.at for one in found if one.released_at is not None]


def to_notice_s(evidence: Evidence) -> list[float]:
    """Seconds from a notice to the worker's row that says so."""
    return [one.noticed_at - one.at for one in evidence.journal.injected if one.noticed_at is not None]


def to_claim_s(evidence: Evidence) -> list[float]:
    """Seconds from the loss of a worker to the next claim of its job; a job that had ended needs none."""
    found = []
    for one in evidence.journal.injected:
        if one.kind in LOSSES and one.kind != "killed at delete":
            claim = _claim_after(evidence, one)
            if claim is not None:
                found.append(claim - one.at)
    return found


def _claim_after(evidence: Evidence, one: Injected) -> float | None:
    claims = [row for row in evidence.of(one.job_id, "STATUS#") if row["to"] == "CLAIMED"]
    return next(
        (datetime.fromisoformat(row["at"]).timestamp() for row in claims if row["attempt"] == one.attempt + 1), None
    )


def print_tables(evidence: Evidence, seed: int, seconds: float, console: Console) -> None:
    """Jobs, faults and times."""
    console.print(_jobs(evidence, seed))
    console.print(_faults(evidence))
    console.print(_times(evidence, seconds))


def _jobs(evidence: Evidence, seed: int) -> Table:
    table = Table(title=f"jobs of seed {seed}")
    for name in ("job", "fate", "state", "reason"):
        table.add_column(name, overflow="ellipsis", max_width=58, no_wrap=True)
    for name in ("attempts", "interrupted", "lost", "failed", "steps trained"):
        table.add_column(name, justify="right")
    for job_id, job in evidence.jobs.items():
        row = (evidence.of(job_id, "JOB") or [{}])[0]
        outcomes = Counter(attempt.get("outcome") for attempt in evidence.of(job_id, "ATTEMPT#"))
        counts = (outcomes.total(), *(outcomes[name] for name in ("INTERRUPTED", "LOST", "FAILED")))
        num_steps = sum(step.job_id == job_id for step in evidence.journal.steps)
        said = (job.name, job.fate, str(row.get("status")), str(row.get("reason") or ""))
        table.add_row(*said, *map(str, counts), str(num_steps))
    return table


def _faults(evidence: Evidence) -> Table:
    table = Table(title="faults")
    table.add_column("kind")
    table.add_column("times", justify="right")
    table.add_column("what happens")
    counts = Counter(one.kind for one in evidence.journal.injected)
    for kind, (_, text) in KINDS.items():
        if counts[kind]:
            table.add_row(kind, str(counts[kind]), text)
    table.add_row("in all", str(counts.total()), "")
    return table


def _times(evidence: Evidence, seconds: float) -> Table:
    lease_s, hidden_s = times.stretched(times.LEASE_S), times.stretched(times.VISIBILITY_S)
    table = Table(title=f"times in seconds (lease {lease_s:.0f}, message hidden for {hidden_s:.0f})")
    table.add_column("from ... to ...")
    for name in ("number", "median", "longest"):
        table.add_column(name, justify="right")
    for text, values in (
        ("notice ... noticed", to_notice_s(evidence)),
        ("notice ... message released", to_release_s(evidence)),
        *((f"    {kind}", to_release_s(evidence, kind)) for kind in NOTICES),
        ("loss of a worker ... next claim", to_claim_s(evidence)),
    ):
        table.add_row(text, *_three(values))
    table.add_row("the whole run", "", "", f"{seconds:.0f}")
    return table


def _three(values: Sequence[float]) -> tuple[str, str, str]:
    if not values:
        return "0", "", ""
    return str(len(values)), f"{median(values):.1f}", f"{max(values):.1f}"
