"""The notice of a job's end: a row of the jobs table until it is sent, then a text.

The transaction that ends the job writes the row; a function of the stack sends it and deletes it. So no end is without
its notice, whatever fails in between, and one may come twice. Needs the standard library alone, as that function does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from receipt_trainer.contract.cost import Cost, of_attempts, read_prices
from receipt_trainer.contract.tables import moment

PK: Final = "NOTICES"
"""Partition key of all notices that are not sent yet."""
KEPT_S: Final = 14 * 86_400
"""Seconds after which a notice that could not be sent is deleted."""
HELD: Final = "HELD"
"""State in a notice of an INTERRUPTED job whose complete run is delivered only on request."""

_SUBJECT_LENGTH: Final = 99
_REASON_LENGTH: Final = 1000
_CENT: Final = 0.01


def sort_key(at: str, job_id: str, seq: int) -> str:
    """Sort key of a notice: oldest first; `seq` counts the job's changes, so that no two ends are one."""
    return f"{at}#{job_id}#{seq:08d}"


@dataclass(frozen=True, slots=True)
class Notice:
    """The end of a job, SUCCEEDED, FAILED, CANCELLED or HELD, `at` as the rows of the jobs table have it.

    Attributes:
        reason: why, if there is more to say than the state does.
        f1: score of the kept model on its validation receipts, if it has one.
        list_prices: as the job's row has them, for attempts that were bought on demand.
        retry_flag: what `retry` needs, of a job that was stopped at its limit.
    """

    job_id: str
    name: str
    state: str
    at: str
    reason: str | None = None
    f1: float | None = None
    list_prices: str | None = None
    retry_flag: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Notice:
        """Read a row; what lacks in it is empty."""
        texts = {name: str(row.get(name) or "") for name in ("job_id", "name", "state", "at")}
        f1 = row.get("f1")
        score = float(f1) if isinstance(f1, int | float) and not isinstance(f1, bool) else None
        known = {name: str(row[name]) for name in ("reason", "list_prices", "retry_flag") if row.get(name)}
        return cls(**texts, **known, f1=score)

    def to_row(self, seq: int) -> dict[str, Any]:
        """The row, as `from_row` reads it; `seq` counts the job's changes."""
        own = {name: getattr(self, name) for name in self.__slots__}
        keys = {"PK": PK, "SK": sort_key(self.at, self.job_id, seq), "TYPE": "NOTICE"}
        ended = moment(self.at)
        expiry = {"expires_at": int(ended.timestamp()) + KEPT_S} if ended else {}
        return keys | expiry | {name: value for name, value in own.items() if value is not None}

    def cost(self, attempts: Sequence[Mapping[str, Any]], now: datetime) -> Cost:
        """Of the job, by its ATTEMPT rows; those on demand at the list price of the day on which it was submitted."""
        prices = read_prices(self.list_prices)

        def listed(row: Mapping[str, Any]) -> float | None:
            return prices.get(str(row.get("instance_type"))) if row.get("market") == "on_demand" else None

        return of_attempts(attempts, now, listed)

    def subject(self, stack: str) -> str:
        """One line of printable ASCII, as the subject of a mail must be (SNS API Reference, Publish)."""
        score = f", F1 {self.f1:.3f}" if self.f1 is not None else ""
        line = f"{self.name} {self.state}{score} (stack {stack})"
        return "".join(sign if " " <= sign <= "~" else "?" for sign in line.strip())[:_SUBJECT_LENGTH]

    def text(self, stack: str, cost: Cost) -> str:
        """Name, state, score, dollars, and the commands to look at it and to resume it."""
        facts = {"job": self.job_id, "state": self.state, "at": _when(self.at)}
        if self.f1 is not None:
            facts["F1"] = f"{self.f1:.3f}"
        facts["cost"] = cost_text(cost)
        if self.reason:
            long = len(self.reason) > _REASON_LENGTH
            facts["reason"] = f"... {self.reason[4 - _REASON_LENGTH :]}" if long else self.reason
        lines = [f"{self.name}: {_SAID.get(self.state, self.state)}", ""]
        lines += [f"{name + ':':<8} {value}" for name, value in facts.items()]
        where = f"--stack {stack} {self.job_id}"
        lines += ["", "Look at it:", f"receipt-trainer job-details {where}"]
        if self.state in _NEXT:
            limit = f" {self.retry_flag}" if self.retry_flag else ""
            lines += ["", _NEXT[self.state], f"receipt-trainer retry {where}{limit}"]
        text = "\n".join(lines) + "\n"
        return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)


_SAID: Final[Mapping[str, str]] = {
    "SUCCEEDED": "the job has succeeded",
    "FAILED": "the job has failed",
    "CANCELLED": "the job is cancelled",
    HELD: "the job is held: its run is complete and could not be delivered",
}
_NEXT: Final[Mapping[str, str]] = {
    "FAILED": "Try again from its last checkpoint:",
    "CANCELLED": "Resume it from its last checkpoint:",
    HELD: "Deliver it, without training, once the cause is gone:",
}


def cost_text(cost: Cost) -> str:
    """Dollars and instance time; a missing price is unknown, and less than a cent is no sum."""
    if not cost.num_attempts:
        return "nothing, no worker had it"
    time = f"{_duration(cost.seconds)} of instance time in {cost.num_attempts} "
    time += "attempt" if cost.num_attempts == 1 else "attempts"
    if cost.num_at_list_price:
        time += f"; {cost.num_at_list_price} at the list price"
    if cost.usd is None:
        return f"unknown, no price is recorded ({time})"
    if 0 < cost.usd < _CENT:
        return f"< $0.01 ({time})"
    if cost.num_unknown:
        return f"at least ${cost.usd:,.2f} ({time}; {cost.num_unknown} without a price)"
    return f"${cost.usd:,.2f} ({time})"


def _duration(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _when(at: str) -> str:
    found = moment(at)
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if found else at
