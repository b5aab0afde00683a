"""The learning-rate range test."""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from receipt_trainer.config.job_file import PaddleOcrVlJob
from receipt_trainer.config.paddleocr_vl import VlDataConfig, VlTrainingConfig
from receipt_trainer.errors import WorldError
from receipt_trainer.models.paddleocr_vl.dataset import prepare
from receipt_trainer.models.paddleocr_vl.lr_finder import (
    LrCurve,
    draw_curve,
    exploded,
    find_lr,
    rate_ramp,
    shown_losses,
    smooth,
)
from receipt_trainer.models.paddleocr_vl.model import build, choose_machine, load_processor


def configure(model: Path, receipts: Path, **training: Any) -> PaddleOcrVlJob:
    values = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "device": "cpu", "bf16": False}
    return PaddleOcrVlJob(
        job_name="a",
        model=str(model),
        training_config=VlTrainingConfig.model_validate(values | {"gradient_checkpointing": False} | training),
        data_config=VlDataConfig(dataset_path=str(receipts)),
    )


def run(job: PaddleOcrVlJob, model: Any = None, **options: Any) -> LrCurve:
    training = job.training_config
    machine, processor = choose_machine(training), load_processor(job.model)
    data = prepare(job.data_config, training, processor)
    return find_lr(job, model or build(job.model, training, machine), data, processor, machine, **options)


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_curve_falls_and_explodes(tiny_model: Path, receipts: Path) -> None:
    """Small rates change nothing, good ones lower the loss, and the suggestion lies between the ends."""
    curve = run(configure(tiny_model, receipts), start=1e-5, end=10.0, num_steps=30)
    assert curve.rates[0] == pytest.approx(1e-5)
    assert curve.rates[-1] <= 10.0
    assert min(curve.smoothed) < 0.98 * curve.smoothed[0]
    assert curve.suggestion is not None
    assert 1e-5 < curve.suggestion < 1.0
    assert curve.suggestion <= min(curve.steepest or 1, curve.tenth_of_lowest or 1)


def test_nothing_is_left_changed(tiny_model: Path, receipts: Path) -> None:
    """Weights, buffers, gradients, mode and the random state are as before, and no file of model or data changed."""
    config = configure(tiny_model, receipts)
    model = build(config.model, config.training_config, choose_machine(config.training_config))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, files, mode = torch.get_rng_state(), digest(tiny_model) | digest(receipts), model.training
    run(config, model, start=1e-3, end=1.0, num_steps=5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in model.parameters())
    assert model.training == mode
    assert digest(tiny_model) | digest(receipts) == files


def test_it_is_repeatable(tiny_model: Path, receipts: Path) -> None:
    """The same configuration gives the same curve, also twice on one model."""
    config = configure(tiny_model, receipts)
    model = build(config.model, config.training_config, choose_machine(config.training_config))
    curves = [run(config, model, start=1e-3, end=1e-1, num_steps=4) for _ in range(2)]
    assert curves[0] == curves[1]
    assert curves[0] == run(config, start=1e-3, end=1e-1, num_steps=4)


def test_a_loss_that_is_no_number_ends_it(tiny_model: Path, receipts: Path) -> None:
    """The steps before it are kept, and the weights come back."""
    config = configure(tiny_model, receipts)
    model = build(config.model, config.training_config, choose_machine(config.training_config))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls = 0

    def poison(module: Any, inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        return output * math.nan if calls > 4 else output

    handle = model.get_base_model().lm_head.register_forward_hook(poison)
    curve = run(config, model, start=1e-3, end=1e-1, num_steps=10)
    handle.remove()
    assert len(curve.losses) == 2
    assert all(map(math.isfinite, curve.losses))
    assert "no finite loss at step 3" in curve.ended
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_that_is_broken_from_the_start(tiny_model: Path, receipts: Path) -> None:
    """It is said, not drawn."""
    config = configure(tiny_model, receipts)
    model = build(config.model, config.training_config, choose_machine(config.training_config))
    handle = model.get_base_model().lm_head.register_forward_hook(lambda module, inputs, output: output * math.nan)
    with pytest.raises(WorldError, match="the first loss is nan"):
        run(config, model, num_steps=10)
    handle.remove()


def test_the_ramp() -> None:
    """Equal factors, both ends included."""
    assert rate_ramp(1e-4, 1.0, 5) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])


def test_moving_averages() -> None:
    """By hand with weight 0.5: 4; (2 * 4 * 0.5 + ...) = (1 + 1) / 0.75; corrected so that constants stay."""
    assert smooth([4.0, 2.0], 0.5) == pytest.approx([4.0, (0.5 * 2.0 + 0.5 * 2.0) / 0.75])
    assert smooth([3.0] * 5) == pytest.approx([3.0] * 5)


def test_what_is_suggested() -> None:
    """A loss that falls fastest at 1e-3 and is lowest at 1e-2: 1e-3 both ways."""
    rates = rate_ramp(1e-5, 1e-1, 401)
    losses = [
        5 - 4 / (1 + math.exp(-6 * (math.log10(rate) + 3))) + max(0.0, 60 * (math.log10(rate) + 2)) for rate in rates
    ]
    curve = LrCurve(rates, losses, "")
    assert curve.steepest == pytest.approx(1.1e-3, rel=0.25)
    assert curve.tenth_of_lowest == pytest.approx(1.1e-3, rel=0.25)
    assert curve.suggestion == min(curve.steepest or 1, curve.tenth_of_lowest or 1)


def test_a_loss_that_never_falls() -> None:
    """There is no suggestion, and the picture is drawn all the same."""
    curve = LrCurve(rate_ramp(1e-3, 1, 10), [float(n) for n in range(1, 11)], "")
    assert (curve.steepest, curve.tenth_of_lowest, curve.suggestion) == (None, None, None)
    assert Image.open(io.BytesIO(draw_curve(curve, "never"))).format == "PNG"
    assert Image.open(io.BytesIO(draw_curve(LrCurve([1e-3], [2.0], ""), "one"))).format == "PNG"


def test_explosions() -> None:
    """Four times the lowest smoothed loss, not one bad step."""
    assert not exploded([])
    assert not exploded([1.0] * 20 + [8.0])
    assert exploded([1.0] * 20 + [8.0] * 10)


def test_the_picture_shows_every_step_but_an_explosion() -> None:
    """Noise around the moving average is inside of the picture; losses that explode at the end do not flatten it."""
    losses = [5.0 + (-1) ** n * 1.5 - 0.02 * n for n in range(60)]
    low, high = shown_losses(LrCurve(rate_ramp(1e-7, 1, 60), losses, ""))
    assert low < min(losses)
    assert max(losses) < high < 2 * max(losses)
    low, high = shown_losses(LrCurve(rate_ramp(1e-7, 1, 66), [*losses, *(100.0 * n for n in range(1, 7))], ""))
    assert low < min(losses)
    assert max(losses) < high < 30


def test_the_picture_shows_a_flat_loss() -> None:
    """Losses that are all the same, or a single one, have a picture too."""
    for losses in ([2.0], [2.0] * 12):
        low, high = shown_losses(LrCurve(rate_ramp(1e-7, 1, len(losses)), losses, ""))
        assert low < 2.0 < high


def test_the_loss_of_a_step_can_be_seen() -> None:
    """Its line is there in the picture: a curve of noise has far more dark ink than one whose loss is smooth."""
    rates = rate_ramp(1e-7, 1, 60)
    noisy = [5.0 + (-1) ** n * 1.5 for n in range(60)]
    ink = []
    for losses in (noisy, [5.0 - 0.01 * n for n in range(60)]):
        with Image.open(io.BytesIO(draw_curve(LrCurve(rates, losses, ""), "x"))) as image:
            ink.append(sum(image.convert("L").histogram()[:190]))
    assert ink[0] > 1.5 * ink[1]


def test_the_picture_shows_the_fall() -> None:
    """However deep the loss falls in the last steps, its lowest value is inside."""
    losses = [6.0, 6.01] * 20 + [5.0, 3.0, 1.0]
    assert shown_losses(LrCurve(rate_ramp(1e-7, 1, len(losses)), losses, ""))[0] < 1.0
