"""Models of the family: loaded, and prepared for training."""

from __future__ import annotations

import importlib.util
import json
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from transformers import BitsAndBytesConfig, PaddleOCRVLForConditionalGeneration
from transformers.utils import is_flash_attn_2_available

from receipt_trainer.config.layoutlm import TrainingConfig
from receipt_trainer.config.paddleocr_vl import DEFAULT_PROMPT, VlTrainingConfig
from receipt_trainer.data.document_set import trained_as
from receipt_trainer.errors import UserError
from receipt_trainer.models import hub
from receipt_trainer.models.paddleocr_vl.lora import attach_lora, freeze_vision
from receipt_trainer.models.paddleocr_vl.processor import LOAD_ERRORS, load_processor, one_line
from receipt_trainer.training import hardware
from receipt_trainer.training.hardware import Machine

Device = Literal["auto", "cpu", "cuda"]
ADAPTER_CONFIG: Final = "adapter_config.json"
MODEL_TYPE: Final = "paddleocr_vl"
"""model_type in config.json of this family's models."""
NOT_QUANTIZED: Final = ["model.visual", "model.projector", "lm_head"]
"""Full names: transformers compares from the start of a module's name."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model on its device, with what reads documents for it.

    Attributes:
        model: a PaddleOCRVLForConditionalGeneration, or a peft model around one.
        processor: its PaddleOCRVLProcessor.
        name: hub name or folder of the base model.
        adapter: folder of the adapter, if there is one.
        prompt: what it is asked where a document has no instruction: what it was trained with.
    """

    model: Any
    processor: Any
    name: str
    adapter: Path | None
    device: torch.device
    prompt: str = DEFAULT_PROMPT


def load(
    name_or_path: str | Path,
    *,
    adapter: Path | None = None,
    quantize: bool = False,
    device: Device = "auto",
    dtype: torch.dtype | Literal["auto"] = "auto",
    attention: str = "sdpa",
) -> Loaded:
    """A model for use, in evaluation mode.

    Args:
        name_or_path: hub name, folder of a complete model, folder of an adapter (its base is loaded below it), or the
            folder of a run, which has either in `model/`.
        adapter: folder of an adapter to put on it.
        quantize: base weights in 4 bits.
        device: auto: a GPU if there is one.
        dtype: of the weights; auto: bfloat16 on a GPU that has it, float32 elsewhere.
        attention: how it is computed (transformers' names).

    Raises:
        UserError: no such model, another kind of model, a broken one, or quantize without CUDA and bitsandbytes.
        WorldError: the hub cannot be reached.
    """
    name, adapter = locate(str(name_or_path), adapter)
    where = choose_device(device)
    if quantize:
        require_quantization(device)
    chosen = default_dtype(where) if dtype == "auto" else dtype
    require_family(name)
    model = load_base(name, where, chosen, quantize, attention)
    if adapter is not None:
        model = with_adapter(model, adapter)
    return Loaded(
        model.eval(), load_processor(name, adapter), name, adapter, where, trained_as(adapter or Path(name)).prompt
    )


def choose_device(device: Device) -> torch.device:
    """The device to compute on; UserError: cuda is asked for and PyTorch sees no GPU."""
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UserError("device cuda is asked for, but PyTorch sees no GPU; use cpu or auto")
    return torch.device("cuda" if available and device != "cpu" else "cpu")


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where a GPU computes in it, float32 elsewhere."""
    has = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has else torch.float32


def require_quantization(device: Device = "auto") -> None:
    """Refuse 4-bit weights where they cannot be.

    Raises:
        UserError: the CPU is asked for, there is no CUDA, or no bitsandbytes.
    """
    if device == "cpu":
        raise UserError("4-bit weights (use_quantization) need a CUDA GPU, and device is cpu; leave one of them out")
    if not torch.cuda.is_available():
        raise UserError("4-bit weights (use_quantization) need a CUDA GPU; leave it out, LoRA works without")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError("4-bit weights (use_quantization) need bitsandbytes: pip install bitsandbytes")


def require_attention(name: str, device: Device = "auto") -> None:
    """Refuse an implementation of attention that cannot run here.

    Raises:
        UserError: flash_attention_2 without a GPU, or without its package.
    """
    if name != "flash_attention_2":
        return
    if device == "cpu" or not torch.cuda.is_available():
        raise UserError("attn_implementation flash_attention_2 needs a CUDA GPU; leave it out: sdpa runs everywhere")
    if not is_flash_attn_2_available():
        raise UserError(
            "attn_implementation flash_attention_2 needs flash-attn (pip install flash-attn); or leave it out"
        )


def locate(name: str, adapter: Path | None) -> tuple[str, Path | None]:
    """The base model's name and the adapter's folder, for any folder that leads to them."""
    folder = Path(name)
    if not (folder / "config.json").is_file() and (folder / "model").is_dir():
        folder = folder / "model"
    if not (folder / ADAPTER_CONFIG).is_file():
        return (str(folder) if folder.is_dir() else name), adapter
    if adapter is not None:
        raise UserError(f"{folder} is an adapter itself; name its base model, or leave the other adapter out")
    return adapter_base(folder), folder


def adapter_base(folder: Path) -> str:
    """Name of the base model that an adapter was trained on; UserError: `folder` holds no adapter."""
    try:
        base = json.loads((folder / ADAPTER_CONFIG).read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: not an adapter: {one_line(error)}") from None
    return str(base)


def require_family(name: str) -> None:
    """Look at config.json before any weight: transformers would make up what does not fit.

    Raises:
        UserError: no such model, or of another kind.
        WorldError: the hub cannot be reached.
    """
    from transformers import PreTrainedConfig

    try:
        with hub.reached(name):
            values, _ = PreTrainedConfig.get_config_dict(name)
    except LOAD_ERRORS as error:
        hub.raise_if_unreachable(name, error)
        raise UserError(
            f"model {name}: neither a folder with a model nor on the hub or in its cache: {one_line(error)}"
        ) from None
    if not values and Path(name).is_dir():
        raise UserError(f"model {name}: there is no model in this folder")
    found = values.get("model_type")
    if found != MODEL_TYPE:
        raise UserError(f"model {name}: it is of type {found or 'unknown'}, not {MODEL_TYPE}")


def load_base(
    name: str, device: torch.device, dtype: torch.dtype, quantize: bool = False, attention: str = "sdpa"
) -> Any:
    """A complete model on its device, all of whose weights are in its files.

    Raises:
        UserError: a broken or incomplete model, or too large for the GPU.
        WorldError: the hub cannot be reached.
    """
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": attention, "output_loading_info": True}
    if quantize:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
            llm_int8_skip_modules=NOT_QUANTIZED,
        )
        options["device_map"] = {"": 0}
    try:
        with hub.reached(name):
            model, info = PaddleOCRVLForConditionalGeneration.from_pretrained(name, **options)
    except torch.OutOfMemoryError:
        raise UserError(f"model {name}: it does not fit into the GPU's memory") from None
    except LOAD_ERRORS as error:
        hub.raise_if_unreachable(name, error)
        raise UserError(f"model {name}: not a complete model: {one_line(error)}") from None
    lacking = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if lacking:  # transformers fills them with random numbers
        raise UserError(f"model {name}: {len(lacking)} weights are missing or misshapen, such as {lacking[0]}")
    _say_tied(model)
    return model if quantize else model.to(device)


def _say_tied(model: Any) -> None:
    """Let both configurations say whether embeddings and head are one tensor, as the weights are.

    The published config.json says `false` at its root alone, and what transformers makes of it is `true`.
    """
    tied = model.lm_head.weight is model.get_input_embeddings().weight
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = tied


def with_adapter(model: Any, adapter: Path) -> Any:
    """A peft model around `model`; UserError: no adapter, or not of this model."""
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(adapter))
    except LOAD_ERRORS as error:
        raise UserError(f"{adapter}: not an adapter of this model: {one_line(error)}") from None


def stored_config(name: str) -> dict[str, Any] | None:
    """The values of config.json; None if it cannot be read."""
    from transformers import PreTrainedConfig

    try:
        values: dict[str, Any] = PreTrainedConfig.get_config_dict(name)[0]
    except (OSError, ValueError):
        return None
    return values


def choose_machine(training: VlTrainingConfig) -> Machine:
    """Device and arithmetic: bf16 where it is asked for and the hardware has it, fp32 elsewhere.

    Raises:
        UserError: there is no GPU and one is asked for.
    """
    device = TrainingConfig(device=training.device)
    cuda = hardware.use_cuda(device)
    wanted = hardware.precision(device, cuda) if training.bf16 else "fp32"
    return Machine(cuda, "bf16" if wanted == "bf16" else "fp32")


def build(name: str, training: VlTrainingConfig, machine: Machine) -> Any:
    """The model with what is to be trained marked as such.

    Frozen weights are kept in bf16 where products are; what is trained is kept in float32.

    Args:
        name: hub name or folder of the base model.

    Raises:
        UserError: as `load` and `attach_lora`.
    """
    lora = training.lora
    require_attention(training.attn_implementation, training.device)
    small = lora.enabled and machine.cuda and machine.precision == "bf16"
    loaded = load(
        name,
        quantize=training.use_quantization,
        device="cuda" if machine.cuda else "cpu",
        dtype=torch.bfloat16 if small else torch.float32,
        attention=training.attn_implementation,
    )
    if loaded.adapter is not None:
        raise UserError(
            f"{loaded.adapter} is an adapter; merge it first (receipt-trainer vl merge), then train on that"
        )
    return prepare_for_training(loaded.model, training)


def prepare_for_training(model: Any, training: VlTrainingConfig) -> Any:
    """Adapters, gradients and checkpointing as the configuration asks; returns the model to train.

    Raises:
        UserError: as `attach_lora`.
    """
    lora = training.lora
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
