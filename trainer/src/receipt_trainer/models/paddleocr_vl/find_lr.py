"""Learning-rate range test: a few steps at rates that grow from tiny to huge (Smith 2017)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor

from receipt_trainer.config.paddleocr_vl import VlConfig
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.models.paddleocr_vl.batches import VlCollator
from receipt_trainer.models.paddleocr_vl.loss import TokenLoss, supervised
from receipt_trainer.models.paddleocr_vl.lr_curve import LrCurve, exploded, ramp
from receipt_trainer.models.paddleocr_vl.prepare import VlData
from receipt_trainer.models.paddleocr_vl.sampler import EpochBatches
from receipt_trainer.training.hardware import Machine

Progress = Callable[[int, int], None]
Step = list[dict[str, Any]]
"""The batches of one optimizer step."""


def find_lr(
    config: VlConfig,
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

    Batches, accumulation, loss, weight decay and clipping are those of the configuration; the rate grows by the same
    factor each step. Ends early when the smoothed loss explodes, or the loss or its gradient is no number.

    Raises:
        WorldError: the loss is no number before any weight was changed.
        UserError: the GPU's memory is too small.
    """
    was_training = model.training
    with _kept(model, machine.cuda):
        model.train()
        try:
            return _run(config, model, _steps(config, data, processor), machine, ramp(start, end, num_steps), progress)
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


def _steps(config: VlConfig, data: VlData, processor: Any) -> Iterator[Step]:
    """Batches of optimizer steps, epoch after epoch, without end."""
    training, examples = config.training, data.train.examples
    order = EpochBatches(data.train.lengths, training.per_device_train_batch_size, training.seed)
    collator = VlCollator(
        examples,
        processor,
        augmentation=config.augmentation,
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
    config: VlConfig,
    model: Any,
    steps: Iterator[Step],
    machine: Machine,
    rates: list[float],
    progress: Progress | None,
) -> LrCurve:
    training, losses = config.training, []
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(_groups(model, training.weight_decay), lr=rates[0])
    torch.manual_seed(training.seed)
    ended = "all steps were taken"
    for number, (rate, batches) in enumerate(zip(rates, steps, strict=False), start=1):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _backward(config, model, batches, machine)
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


def _backward(config: VlConfig, model: Any, batches: Step, machine: Machine) -> float:
    """Gradients of a step; its mean loss over supervised tokens."""
    measure = TokenLoss(config.loss)
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
