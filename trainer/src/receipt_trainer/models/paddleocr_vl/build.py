"""The model that a run begins with: loaded, with its adapters, on its device."""

from __future__ import annotations

import resource
from typing import Any

import torch

from receipt_trainer.config.layoutlm import TrainingConfig
from receipt_trainer.config.paddleocr_vl import VlConfig
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.lora import attach_lora, freeze_vision
from receipt_trainer.models.paddleocr_vl.model import load
from receipt_trainer.training import hardware
from receipt_trainer.training.hardware import Machine


def choose_machine(config: VlConfig) -> Machine:
    """Device and arithmetic: bf16 where it is asked for and the hardware has it, fp32 elsewhere.

    Raises:
        UserError: there is no GPU and one is asked for.
    """
    device = TrainingConfig(device=config.training.device)
    cuda = hardware.use_cuda(device)
    wanted = hardware.precision(device, cuda) if config.training.bf16 else "fp32"
    return Machine(cuda, "bf16" if wanted == "bf16" else "fp32")


def build(config: VlConfig, machine: Machine) -> Any:
    """The model with what is to be trained marked as such.

    Frozen weights are kept in bf16 where products are; what is trained is kept in float32.

    Raises:
        UserError: as `load` and `attach_lora`.
    """
    training, lora = config.training, config.lora
    small = lora.enabled and machine.cuda and machine.precision == "bf16"
    loaded = load(
        config.model_name_or_path,
        quantize=training.use_quantization,
        device="cuda" if machine.cuda else "cpu",
        dtype=torch.bfloat16 if small else torch.float32,
    )
    if loaded.adapter is not None:
        raise UserError(
            f"{loaded.adapter} is an adapter; merge it first (receipt-trainer vl merge), then train on that"
        )
    return prepare_for_training(loaded.model, config)


def prepare_for_training(model: Any, config: VlConfig) -> Any:
    """Adapters, gradients and checkpointing as the configuration asks; returns the model to train.

    Raises:
        UserError: as `attach_lora`.
    """
    training, lora = config.training, config.lora
    if training.use_quantization:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # type: ignore[no-untyped-call]
    if training.gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        if lora.enabled:
            model.enable_input_require_grads()  # frozen embeddings give no gradient for the layers to pass on
    if not lora.enabled:
        freeze_vision(model, lora)
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        return attach_lora(model, lora)


def count_parameters(model: Any) -> dict[str, int]:
    """Weights that are trained, and all."""
    sizes = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return {"trainable": sum(size for size, is_trained in sizes if is_trained), "total": sum(size for size, _ in sizes)}


def peak_memory_gib(cuda: bool) -> float:
    """Most memory so far, in GiB: what PyTorch had reserved of the GPU, or of the machine's the whole process."""
    if cuda:
        return round(torch.cuda.max_memory_reserved() / 2**30, 3)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)
