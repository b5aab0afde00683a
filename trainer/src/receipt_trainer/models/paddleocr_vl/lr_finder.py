"""Learning-rate range test: losses over rates, what they suggest, and their picture."""

from __future__ import annotations

import contextlib
import io
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import Any, Final

import torch
from torch import Tensor

from receipt_trainer.config.job_file import PaddleOcrVlJob
from receipt_trainer.config.paddleocr_vl import VlTrainingConfig
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.models.paddleocr_vl.collator import CurriculumBatches, VlCollator
from receipt_trainer.models.paddleocr_vl.dataset import VlData
from receipt_trainer.models.paddleocr_vl.trainer import TokenLoss, supervised
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
Step = list[dict[str, Any]]
"""The batches of one optimizer step."""


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

    Batches, accumulation, loss, weight decay and clipping are those of the job; the rate grows by the same
    factor each step. Ends early when the smoothed loss explodes, or the loss or its gradient is not finite.

    Raises:
        WorldError: the loss is not finite before any weight was changed.
        UserError: the GPU's memory is too small.
    """
    was_training = model.training
    with _kept(model, machine.cuda):
        model.train()
        try:
            steps, rates = _steps(job, data, processor), rate_ramp(start, end, num_steps)
            return _run(job.training_config, model, steps, machine, rates, progress)
        except torch.OutOfMemoryError:
            raise UserError(
                "the GPU's memory is too small: halve per_device_train_batch_size and double "
                "gradient_accumulation_steps"
            ) from None
        finally:
            model.train(was_training)


@contextlib.contextmanager
def _kept(model: Any, cuda: bool) -> Iterator[None]:
    """Bring back what is trained, buffers, gradients and the random state."""
    before = {name: value.detach().clone() for name, value in _changing(model)}
    try:
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if cuda else []):
            yield
    finally:
        with torch.no_grad():
            for name, value in _changing(model):
                value.copy_(before[name])
        model.zero_grad(set_to_none=True)


def _changing(model: Any) -> Iterator[tuple[str, Tensor]]:
    yield from ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    yield from model.named_buffers()


def _steps(job: PaddleOcrVlJob, data: VlData, processor: Any) -> Iterator[Step]:
    """Batches of optimizer steps, epoch after epoch, without end."""
    training, examples = job.training_config, data.train.examples
    order = CurriculumBatches(data.train.lengths, training.per_device_train_batch_size, training.seed)
    collator = VlCollator(
        examples,
        processor,
        augmentation=job.data_config.augmentation,
        seed=training.seed,
        max_length=training.max_sequence_length,
    )

    def batches() -> Iterator[dict[str, Any]]:
        for epoch in count():
            order.set_epoch(epoch)
            collator.epoch = epoch
            yield from map(collator, order)

    endless = batches()
    while True:
        yield list(islice(endless, training.gradient_accumulation_steps))


def _run(
    training: VlTrainingConfig,
    model: Any,
    steps: Iterator[Step],
    machine: Machine,
    rates: list[float],
    progress: Progress | None,
) -> LrCurve:
    losses: list[float] = []
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(_groups(model, training.weight_decay), lr=rates[0])
    torch.manual_seed(training.seed)
    ended = "all steps were taken"
    for number, (rate, batches) in enumerate(zip(rates, steps, strict=False), start=1):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _backward(training, model, batches, machine)
        norm = torch.nn.utils.clip_grad_norm_(weights, training.max_grad_norm or math.inf)
        if not math.isfinite(loss) or not math.isfinite(float(norm)):
            if number == 1:
                raise WorldError(
                    f"the first loss is {loss} with a gradient of {float(norm)}: look at model and examples"
                )
            ended = f"no finite loss at step {number}, learning rate {rate:.3g}"
            break
        losses.append(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if progress is not None:
            progress(number, len(rates))
        if exploded(losses):
            ended = f"the loss exploded at step {number}, learning rate {rate:.3g}"
            break
    return LrCurve(rates[: len(losses)], losses, ended)


def _backward(training: VlTrainingConfig, model: Any, batches: Step, machine: Machine) -> float:
    """Gradients of a step; its mean loss over supervised tokens."""
    measure = TokenLoss(training.loss)
    kind = "cuda" if machine.cuda else "cpu"
    num_tokens = sum(int((batch["labels"][:, 1:] >= 0).sum()) for batch in batches)
    total = 0.0
    for batch in batches:
        values = {name: value.to(kind) for name, value in batch.items() if name != "ids"}
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=machine.precision == "bf16"):
            logits, targets = supervised(model, values)
            loss = measure(logits, targets) / max(1, num_tokens)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Weights with decay, and norms and biases without, as in training."""
    from transformers import Trainer

    decayed = set(Trainer.get_decay_parameter_names(None, model))  # a function of the model alone
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    return [
        {"params": [weight for name, weight in named if name in decayed], "weight_decay": weight_decay},
        {"params": [weight for name, weight in named if name not in decayed], "weight_decay": 0.0},
    ]
