"""What shall go wrong, and when: a function of the seed alone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

STEPS: Final = 27
"""Optimizer steps of a job; an epoch, and so a checkpoint, has nine."""
VARIANTS: Final = 3
"""Jobs differ in the seed of their training; each variant is trained once undisturbed, to compare with."""

SKEW_S: Final = 240.0
"""AWS refuses a signature that is five minutes off; by so much a clock can be wrong without anything else failing."""

Trigger = Literal["step", "submit", "receive", "claim", "upload", "delete"]

KINDS: Final[Mapping[str, tuple[Trigger, str]]] = {
    "instance lost": ("step", "SIGKILL to a worker and its training process at once"),
    "worker killed": ("step", "SIGKILL to a worker; its training process is left alone"),
    "child killed": ("step", "SIGKILL to a training process, as out of memory"),
    "spot notice": ("step", "the metadata service announces the instance's end"),
    "rebalance": ("step", "the metadata service recommends to rebalance: a checkpoint, and no end"),
    "SIGTERM": ("step", "a worker is asked to end"),
    "freeze": ("step", "SIGSTOP to worker and training process; SIGCONT once another worker has the job"),
    "checkpoint flipped": ("step", "a byte of the newest checkpoint's weights is changed, and the instance is lost"),
    "checkpoint cut": ("step", "the newest checkpoint's weights end half-way, and the instance is lost"),
    "disk full": ("step", "no file of the training process can grow beyond 4 KiB any more (RLIMIT_FSIZE)"),
    "duplicate": ("step", "a second message of the job, in its own message group"),
    "stray duplicate": ("step", "a second message of the job, in another group: delivered while the job is trained"),
    "visibility expired": ("step", "the message becomes visible while the job is trained"),
    "throttle": ("step", "DynamoDB answers with ThrottlingException"),
    "endpoint refuses": ("step", "AWS's address refuses connections, and open ones are closed"),
    "endpoint resets": ("step", "connections to AWS break in the middle of an answer; what was asked is done"),
    "endpoint stalls": ("step", "AWS takes requests and does not answer"),
    "clock ahead": ("step", "the clock of a worker and its training process jumps four minutes ahead"),
    "clock behind": ("step", "the clock of a worker and its training process jumps four minutes back"),
    "group refuses": ("step", "a worker is asked to end, and Auto Scaling refuses to end its instance for a while"),
    "group away": ("step", "a worker is asked to end, and connections to Auto Scaling break for a while"),
    "send lost": ("submit", "the job's message cannot be sent, and `submit` says so; `retry` follows"),
    "receive lost": ("receive", "the answer with the job's message does not arrive"),
    "claim answer lost": ("claim", "the claim is written, its answer does not arrive"),
    "killed at claim": ("claim", "SIGKILL to a worker when its claim is written and nothing has begun"),
    "upload fails": ("upload", "S3 answers 503 to all files of an attempt's upload"),
    "upload refused": ("upload", "S3 answers AccessDenied to all files of an attempt's upload"),
    "killed at upload": ("upload", "SIGKILL to a worker and its training process in the middle of an upload"),
    "delete answer lost": ("delete", "the message is deleted, the answer does not arrive"),
    "killed at delete": ("delete", "SIGKILL to a worker when the job's end is written and its message is not deleted"),
}
"""Name -> (what triggers it, what happens)."""

IN_SHORT: Final = (
    *("instance lost", "spot notice", "freeze", "checkpoint flipped", "disk full", "stray duplicate", "throttle"),
    *("endpoint refuses", "endpoint resets", "clock ahead", "group refuses", "upload fails"),
)
"""Kinds of the short form."""

NOTICES: Final = ("spot notice", "SIGTERM", "group refuses", "group away")
LOSSES: Final = (
    *("instance lost", "worker killed", "freeze", "checkpoint flipped", "checkpoint cut", "killed at claim"),
    *("killed at upload", "killed at delete"),
)
"""Kinds after which a worker is gone without a word."""
OUTAGES: Final = ("throttle", "endpoint refuses", "endpoint resets", "endpoint stalls")
OF_THE_GROUP: Final = ("group refuses", "group away")
"""Outages of Auto Scaling alone, at the end of one worker."""
_FAILURES: Final = ("child killed", "disk full")
"""Kinds that count as a failed attempt; the third would end a job."""
MAX_OUTAGE_S: Final = 6.0
MAX_SHORT_OUTAGE_S: Final = 2.5
"""In the short form, which is to be over soon."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        number: from 1, over all jobs.
        step: at whose begin it happens, or at the first later one that is trained; 0 where a request triggers it.
        seconds: of an outage.
        everywhere: an outage of all workers' connections, not only of this one's.
    """

    number: int
    kind: str
    step: int = 0
    seconds: float = 0.0
    everywhere: bool = False

    @property
    def trigger(self) -> Trigger:
        """What makes it happen."""
        return KINDS[self.kind][0]


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job and what shall happen to it.

    Attributes:
        fate: "ordinary" succeeds whatever happens; "mistaken" names receipts that are not there; "doomed": its
            training process dies at the second step of every attempt.
        variant: seed of its training.
    """

    name: str
    fate: Literal["ordinary", "mistaken", "doomed"]
    variant: int
    priority: Literal["high", "normal"]
    faults: tuple[Fault, ...] = ()


def make_plan(seed: int, num_jobs: int, *, short: bool = False) -> list[PlannedJob]:
    """The same for the same arguments.

    Args:
        num_jobs: at least 5; every fifth of them is made to fail, and two at least.
        short: only the kinds of `IN_SHORT`, each once, and one variant; otherwise three faults a job, and every kind as
            often as that takes.

    Raises:
        ValueError: too few jobs.
    """
    if num_jobs < 5:
        raise ValueError("a plan needs 5 jobs")
    rng = random.Random(seed)
    num_failing = max(2, num_jobs // 5)
    fates = [*["ordinary"] * (num_jobs - num_failing), *(("mistaken", "doomed")[n % 2] for n in range(num_failing))]
    rng.shuffle(fates)
    ordinary = [n for n, fate in enumerate(fates) if fate == "ordinary"]
    dealt = _deal(rng, ordinary, short)
    jobs, number = [], 0
    for n, fate in enumerate(fates):
        longest_s = MAX_SHORT_OUTAGE_S if short else MAX_OUTAGE_S
        faults = _place(rng, dealt.get(n, []), number, longest_s)
        number += len(faults)
        variant, priority = rng.randint(1, 1 if short else VARIANTS), rng.choice(["high", "normal", "normal"])
        jobs.append(PlannedJob(f"job-{n + 1:02d}", fate, variant, priority, faults))
    return jobs


def _deal(rng: random.Random, ordinary: list[int], short: bool) -> dict[int, list[str]]:
    """Which kinds go to which job; the jobs in turn, so that all have as many."""
    kinds = list(IN_SHORT if short else KINDS)
    num_faults = len(kinds) if short else max(len(kinds), 3 * len(ordinary))
    deck: list[str] = []
    while len(deck) < num_faults:
        deck += rng.sample(kinds, len(kinds))
    dealt: dict[int, list[str]] = {n: [] for n in ordinary}
    for kind in deck[:num_faults]:
        open_to = [n for n in ordinary if _fits(kind, dealt[n])]
        fewest = min(len(dealt[n]) for n in open_to)
        dealt[rng.choice([n for n in open_to if len(dealt[n]) == fewest])].append(kind)
    return dealt


def _fits(kind: str, others: list[str]) -> bool:
    if kind in _FAILURES:
        return not any(other in _FAILURES for other in others)
    trigger = KINDS[kind][0]
    return trigger == "step" or all(KINDS[other][0] != trigger for other in others)


def _lateness(kind: str) -> int:
    return {"checkpoint flipped": 1, "checkpoint cut": 1, "disk full": 2}.get(kind, 0)


def _place(rng: random.Random, kinds: list[str], before: int, longest_s: float) -> tuple[Fault, ...]:
    """Give each its moment: a damaged checkpoint needs one, and a full disk is noticed at the next one only."""
    at_steps = sorted((kind for kind in kinds if KINDS[kind][0] == "step"), key=_lateness)
    num_late = sum(_lateness(kind) > 0 for kind in at_steps)
    steps = sorted(rng.sample(range(2, 19), len(at_steps) - num_late))
    steps += sorted(rng.sample(range(max([10, *steps]) + 1, STEPS), num_late))
    moments = [*zip(at_steps, steps, strict=True), *((kind, 0) for kind in kinds if KINDS[kind][0] != "step")]
    placed = []
    for number, (kind, step) in enumerate(moments, start=before + 1):
        outage = kind in OUTAGES
        seconds = round(rng.uniform(1.0, longest_s), 1) if outage or kind in OF_THE_GROUP else 0.0
        placed.append(Fault(number, kind, step, seconds, outage and rng.random() < 0.4))
    return tuple(placed)


def count_kinds(jobs: list[PlannedJob]) -> Counter[str]:
    """How often each kind is planned."""
    return Counter(fault.kind for job in jobs for fault in job.faults)
