"""Learning-rate range test: losses over rates, what they suggest, and their picture."""

from __future__ import annotations

import contextlib
import io
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState

from receipt_trainer.config.job_file import PaddleOcrVlJob
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.models.paddleocr_vl.dataset import VlData
from receipt_trainer.models.paddleocr_vl.family import VlTask
from receipt_trainer.training.hardware import Machine

SMOOTHING: Final = 0.9
"""Weight of what was in the moving average of the loss; corrected for its start (Kingma & Ba 2015, section 3)."""

EXPLODED: Final = 4.0
"""A smoothed loss so many times the lowest one ends the test."""


_FAR: Final = 3.0
"""Interquartile ranges above the third quartile up to which losses are drawn."""


@dataclass(frozen=True, slots=True)
class LrCurve:
    """One learning-rate range test.

    Attributes:
        rates: learning rate of each step.
        losses: mean loss of each step's tokens (nats), before the step changed the weights.
        ended: why there are no more steps.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    ended: str

    @property
    def smoothed(self) -> list[float]:
        """Moving averages of the losses."""
        return smooth(self.losses)

    @property
    def steepest(self) -> float | None:
        """Rate where the smoothed loss falls fastest against log(rate), before its lowest; None if it never falls."""
        lowest = self._lowest()
        slopes = [
            ((self.smoothed[at + 1] - self.smoothed[at - 1]) / math.log(self.rates[at + 1] / self.rates[at - 1]), at)
            for at in range(1, lowest)
        ]
        slope, at = min(slopes, default=(0.0, 0))
        return self.rates[at] if slope < 0 else None

    @property
    def tenth_of_lowest(self) -> float | None:
        """A tenth of the rate at the lowest smoothed loss; None if it is the first one: the loss never fell."""
        lowest = self._lowest()
        return self.rates[lowest] / 10 if lowest else None

    @property
    def suggestion(self) -> float | None:
        """The smaller of both: what training with a schedule can take; None if the loss never fell."""
        known = [rate for rate in (self.steepest, self.tenth_of_lowest) if rate is not None]
        return min(known, default=None)

    def as_dict(self) -> dict[str, Any]:
        """The values for JSON."""
        found = {"steepest": self.steepest, "tenth_of_lowest": self.tenth_of_lowest, "suggestion": self.suggestion}
        return found | asdict(self) | {"smoothed": self.smoothed}

    def _lowest(self) -> int:
        return min(range(len(self.losses)), key=lambda at: self.smoothed[at], default=0)


def smooth(losses: Sequence[float], weight: float = SMOOTHING) -> list[float]:
    """Exponential moving averages, corrected for their start: the first one is the first loss."""
    average, found = 0.0, []
    for number, loss in enumerate(losses, start=1):
        average = weight * average + (1 - weight) * loss
        found.append(average / (1 - weight**number))
    return found


def exploded(losses: Sequence[float]) -> bool:
    """Whether the smoothed loss is `EXPLODED` times its lowest value."""
    smoothed = smooth(losses)
    return bool(smoothed) and smoothed[-1] > EXPLODED * max(min(smoothed), 1e-9)


def rate_ramp(start: float, end: float, num_steps: int) -> list[float]:
    """Rates from `start` to `end` in equal factors."""
    return [start * (end / start) ** (step / max(1, num_steps - 1)) for step in range(num_steps)]


def shown_losses(curve: LrCurve) -> tuple[float, float]:
    """The losses at the lower and the upper end of the picture.

    Every step's loss is between them but those far above most (three times the interquartile range, Tukey 1977): an
    explosion at the end would press the fall into a line.
    """
    known = shown = [loss for loss in curve.losses if math.isfinite(loss)]
    if len(known) > 1:
        first, _, third = statistics.quantiles(known, n=4, method="inclusive")
        shown = [loss for loss in known if loss <= third + _FAR * (third - first)]
    low, top = min(shown, default=0.0), max(shown, default=1.0)
    margin = 0.05 * (top - low) + 1e-6
    return low - margin, top + margin


def draw_curve(curve: LrCurve, title: str) -> bytes:
    """The curve as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from receipt_trainer.reports.plots import BLUE, GREEN, INK, VERMILION

    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(curve.rates, curve.losses, color=INK, alpha=0.55, linewidth=0.9, label="loss of a step")
    axes.plot(curve.rates, curve.smoothed, color=BLUE, linewidth=1.8, label="smoothed")
    marks = (("steepest descent", curve.steepest, GREEN), ("lowest / 10", curve.tenth_of_lowest, VERMILION))
    for label, rate, color in marks:
        if rate is not None:
            axes.axvline(rate, color=color, linestyle="--", linewidth=1.2, label=f"{label}: {rate:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss (nats a token)")
    axes.set_title(title, loc="left", color=INK, fontsize=10)
    axes.set_ylim(*shown_losses(curve))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    buffer = io.BytesIO()
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


Progress = Callable[[int, int], None]


class _Ramp(TrainerCallback):
    """Gives each step its rate and keeps its loss; ends the test where the losses explode."""

    def __init__(self, rates: Sequence[float], progress: Progress | None) -> None:
        self.rates, self.losses, self.ended, self._progress = rates, list[float](), "all steps were taken", progress

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The scheduler's rate is constant, and not looked at."""
        for group in kwargs["optimizer"].param_groups:
            group["lr"] = self.rates[state.global_step]

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        """Every step is logged."""
        if "loss" in kwargs["logs"]:
            self.losses.append(kwargs["logs"]["loss"])
            if self._progress is not None:
                self._progress(len(self.losses), len(self.rates))
            if exploded(self.losses):
                control.should_training_stop = True
                self.ended = f"the loss exploded at {self.at(len(self.losses) - 1)}"
        return control

    def at(self, step: int) -> str:
        """A step, counted from 0, in words."""
        return f"step {step + 1}, learning rate {self.rates[step]:.3g}"


def find_lr(
    job: PaddleOcrVlJob,
    model: Any,
    data: VlData,
    processor: Any,
    machine: Machine,
    *,
    start: float = 1e-7,
    end: float = 1.0,
    num_steps: int = 100,
    progress: Progress | None = None,
) -> LrCurve:
    """Try learning rates on a model that is prepared for training; its weights and the random state come back.

    The steps are those of a run of the job but for the rate, which grows by the same factor each step. Ends early when
    the smoothed loss explodes, or the loss or its gradient is not finite.

    Raises:
        WorldError: the loss is not finite before any weight was changed.
        UserError: the GPU's memory is too small.
    """
    own = {"max_steps": num_steps, "lr_scheduler_type": "constant", "warmup_ratio": 0.0, "logging_steps": 1}
    task = VlTask(
        job.model_copy(update={"training_config": job.training_config.model_copy(update=own)}), data, processor
    )
    ramp = _Ramp(rate_ramp(start, end, num_steps), progress)
    with _kept(model, machine.cuda), TemporaryDirectory() as folder:
        trainer = task.trainer(model, machine, Path(folder), [ramp])
        trainer.args.eval_strategy = trainer.args.save_strategy = "no"
        try:
            trainer.train()
        except torch.OutOfMemoryError:
            raise UserError(f"the GPU's memory is too small for {task.memory_hint}") from None
        except WorldError as error:
            if not ramp.losses:
                raise WorldError(f"the first loss is nan or infinite: look at model and examples ({error})") from None
            ramp.ended = f"no finite loss at {ramp.at(len(ramp.losses))}"
    return LrCurve(ramp.rates[: len(ramp.losses)], ramp.losses, ramp.ended)


@contextlib.contextmanager
def _kept(model: Any, cuda: bool) -> Iterator[None]:
    """Bring back what is trained, buffers, gradients, mode and the random state."""
    was_training, before = model.training, {name: value.detach().clone() for name, value in _changing(model)}
    try:
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if cuda else []):
            yield
    finally:
        with torch.no_grad():
            for name, value in _changing(model):
                value.copy_(before[name])
        model.zero_grad(set_to_none=True)
        model.train(was_training)


def _changing(model: Any) -> Iterator[tuple[str, Tensor]]:
    yield from ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    yield from model.named_buffers()
