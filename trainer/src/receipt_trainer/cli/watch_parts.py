"""The parts of a watched job's view: who and where it is, how far, its attempts, its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.cli import delivery_show, job_show
from receipt_trainer.cli.job_details import dollars, least

if TYPE_CHECKING:
    from rich.text import Text

    from receipt_trainer.jobs.views import JobView

_BAR: Final = 20
_WIDE: Final = 100
_LEVELS: Final = {"warning": "yellow", "error": "red", "critical": "red"}


def header(view: JobView, width: int) -> list[Text]:
    """Name and id; state and place; progress: one line each."""
    from rich.text import Text

    from receipt_trainer.reports import formatting

    job_id = str(view.row["job_id"])
    title = Text(formatting.one_line(view.row["name"], max(10, width - len(job_id) - 2)), style="bold", no_wrap=True)
    title.append(f"  {job_id}", style="not bold dim")
    lines = [title, state_line(view), progress_line(view, bar=_BAR if width >= _WIDE else _BAR // 2)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def state_line(view: JobView, *, elapsed: bool = True) -> Text:
    """State, attempt, where it runs, time and dollars; `elapsed` False leaves out what changes all the time."""
    from receipt_trainer.reports import formatting

    row, known = view.row, []
    if row.get("attempt"):
        known.append(f"attempt {row['attempt']}")
    if view.attempts and row["status"] in ("CLAIMED", "RUNNING"):
        last = view.attempts[-1]
        known += [str(last[key]) for key in ("worker_id", "instance_type") if last.get(key)]
    elif row.get("pool"):
        known.append(f"pool {row['pool']}")
    if isinstance(row.get("f1"), int | float):
        known.append(f"F1 {formatting.score(row['f1'])}")
    if elapsed and view.cost.num_attempts:
        known += [formatting.duration(round(view.cost.seconds)), cost_text(view)]
    state = job_show.state_text(row)
    return state.append("".join(f" · {formatting.one_line(fact)}" for fact in known), style="not dim default")


def cost_text(view: JobView) -> str:
    """Dollars so far, in a few words."""
    if view.cost.usd is None:
        return "no price known"
    return f"{least(view.cost.usd, view.cost.num_unknown)}{dollars(view.cost.usd)}"


def progress_line(view: JobView, *, bar: int = 0) -> Text:
    """Step of how many, pace, time left, learning rate; what is not known is said to be so.

    Args:
        bar: columns of a bar before it; 0: no bar, and the loss, which has no curve then.
    """
    from rich.text import Text

    from receipt_trainer.jobs.views import last_value
    from receipt_trainer.reports import formatting, terminal

    pace, line = view.pace, Text(no_wrap=True)
    if "unreadable" in view.row:
        return Text(formatting.one_line(view.row["reason"], 300), style="red", no_wrap=True)
    if told := delivery_show.short(view.row, view.at):
        return Text(formatting.one_line(told, 300), style="magenta", no_wrap=True)
    if pace.step is None:
        waits = {"PENDING": "waits in its queue", "INTERRUPTED": "waits for a worker to go on"}
        return Text(waits.get(view.row["status"], "no step logged yet"), style="dim", no_wrap=True)
    if bar and pace.share is not None:
        done = terminal.bar(pace.share, bar)
        line.append(done, style="green").append("─" * (bar - len(done)) + " ", style="dim")
    total = "of an unknown number" if pace.num_steps is None else f"of {pace.num_steps:,}"
    facts = [f"step {pace.step:,} {total}"]
    if pace.steps_per_s is not None:
        facts.append(f"{formatting.number(round(pace.steps_per_s, 2))} steps/s")
    if pace.left_s is not None and view.row["status"] == "RUNNING":
        facts.append(f"{formatting.duration(max(1, round(pace.left_s)))} left")
    for name, title in (("learning_rate", "lr"),) if bar else (("learning_rate", "lr"), ("loss", "loss")):
        if (point := last_value(view.curves.get(name, []))) is not None:
            facts.append(f"{title} {point.value:.3g}")
    return line.append(" · ".join(facts))


def curve_names(view: JobView) -> list[tuple[str, str]]:
    """The two curves that are drawn, with their titles: the loss, and what the validation says."""
    scores = {"eval_f1": "validation F1", "eval_accuracy": "validation accuracy", "eval_loss": "validation loss"}
    score = next((name for name in scores if view.curves.get(name)), "eval_f1")
    return [("loss", _titled(view, "loss", "training loss")), (score, _titled(view, score, scores[score]))]


def _titled(view: JobView, name: str, title: str) -> str:
    from receipt_trainer.jobs.views import last_value

    point = last_value(view.curves.get(name, []))
    return title if point is None else f"{title} {point.value:.4f}"


def attempts_text(view: JobView, width: int, limit: int) -> list[Text]:
    """The last `limit` attempts, one line each; nothing where the first one goes its way."""
    attempts = view.attempts
    if len(attempts) < 2 and not any(row.get("reason") for row in attempts):
        return []
    shown = [_attempt(row, width) for row in attempts[-limit:]]
    return [_heading(f"attempts ({len(attempts)})"), *shown]


def _attempt(row: dict[str, Any], width: int) -> Text:
    from rich.text import Text

    from receipt_trainer.reports import formatting

    facts = [f"{row['attempt']:>3}  {row['outcome'] or 'running'}", formatting.duration(round(row["seconds"] or 0))]
    facts += [
        f"{name} step {row[key]}" for name, key in (("from", "start_step"), ("to", "checkpoint_step")) if row[key]
    ]
    if row["reason"]:
        facts.append(str(row["reason"]))
    return Text(formatting.one_line(" · ".join(facts).strip(), width), no_wrap=True)


def log_text(view: JobView, width: int, height: int) -> list[Text]:
    """The last lines of the log that fit, each cut to the width."""
    from rich.text import Text

    from receipt_trainer.reports import formatting

    if height < 2 or not view.lines:
        return []
    lines = []
    for row in view.lines[-(height - 1) :]:
        line = Text(f"{job_show.clock(row.timestamp)} ", style="dim", no_wrap=True)
        line.append(
            formatting.one_line(row.message, max(10, width - 10)), style=_LEVELS.get(row.level, "not dim default")
        )
        line.truncate(width)
        lines.append(line)
    return [_heading("log"), *lines]


def _heading(text: str) -> Text:
    from rich.text import Text

    return Text(text, style="bold", no_wrap=True)
