"""Tokens a second and peak memory of one training step of PaddleOCR-VL with LoRA, with random weights.

    python benchmarks/vl_train.py --device cuda --gradient-checkpointing both
    python benchmarks/vl_train.py --device cpu --shape small --steps 3
    python benchmarks/vl_train.py --device cpu --batch-size 1 --image-side 448 --answer-tokens 128 --steps 1

The shape `real` is that of the published 0.9B model: a vision tower of 27 layers, a language model of 18, a vocabulary
of 103,424, input and output embeddings of their own. Weights and inputs are random: time and memory do not depend on
them. With --features the vision tower's part is computed before, as it is from the second epoch on where images are not
augmented. On a GPU frozen weights and products are bf16 and the adapters fp32, as training does it; on a CPU all is
fp32, and seconds are of CPU time. A step is forward, backward, clipping and AdamW over one batch; the first is not
counted. Tokens are those of the language model (prompt, image and answer); peak memory is what PyTorch reserved of the
GPU, or the whole process's on a CPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import PaddleOCRVLConfig, PaddleOCRVLForConditionalGeneration
from transformers.utils import logging

from receipt_trainer.config.paddleocr_vl import LoraSection, VlTrainingConfig
from receipt_trainer.models.paddleocr_vl.encode import IGNORED
from receipt_trainer.models.paddleocr_vl.loss import TokenLoss, answer_loss
from receipt_trainer.models.paddleocr_vl.model import count_parameters, peak_memory_gib, prepare_for_training
from receipt_trainer.models.paddleocr_vl.trainer import values_of
from receipt_trainer.models.paddleocr_vl.vision_features import VisionFeatures

PATCH = 14
MERGE = 2
PROMPT_TOKENS = 64
IMAGE_TOKEN, START, END = 100295, 101305, 101306


@dataclass(frozen=True, slots=True)
class StepTimes:
    """One way of training."""

    seconds: float
    tokens: int
    peak_gib: float


def make_model(shape: str, device: torch.device, dtype: torch.dtype) -> Any:
    """A model with random weights, made on the device."""
    text: dict[str, Any] = {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}
    vision: dict[str, Any] = {}
    if shape == "small":
        text |= {"num_hidden_layers": 2, "hidden_size": 256, "intermediate_size": 512, "head_dim": 128}
        text |= {"num_attention_heads": 4}
        vision = {"num_hidden_layers": 2, "hidden_size": 144, "intermediate_size": 288, "num_attention_heads": 4}
    text["rope_parameters"]["mrope_section"] = [16, 24, 24]
    config = PaddleOCRVLConfig(
        text_config=text | {"tie_word_embeddings": False},
        vision_config=vision,
        image_token_id=IMAGE_TOKEN,
        vision_start_token_id=START,
        vision_end_token_id=END,
        tie_word_embeddings=False,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return PaddleOCRVLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)


def make_batch(size: int, image_side: int, answer_tokens: int, device: torch.device) -> dict[str, Any]:
    """Documents of one shape: some words, a square image, an answer."""
    grid = image_side // (PATCH * MERGE) * MERGE
    in_image = (grid // MERGE) ** 2
    words = torch.randint(10, 50_000, (size, PROMPT_TOKENS + answer_tokens))
    row = [words[:, :32], torch.full((size, 1), START), torch.full((size, in_image), IMAGE_TOKEN)]
    ids = torch.cat([*row, torch.full((size, 1), END), words[:, 32:]], dim=1)
    labels = torch.full_like(ids, IGNORED)
    labels[:, -answer_tokens:] = ids[:, -answer_tokens:]
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": labels,
        "mm_token_type_ids": (ids == IMAGE_TOKEN).int(),
        "pixel_values": torch.randn(size * grid * grid, 3, PATCH, PATCH),
        "image_grid_thw": torch.tensor([[1, grid, grid]] * size),
    }
    return {name: value.to(device) for name, value in batch.items()}


def measure(options: argparse.Namespace, checkpointing: bool) -> tuple[StepTimes, dict[str, int]]:
    """Time steps of one way; returns the median."""
    device = torch.device(options.device)
    cuda = device.type == "cuda"
    torch.manual_seed(0)
    training = VlTrainingConfig(lora=LoraSection(r=options.rank), gradient_checkpointing=checkpointing)
    model = make_model(options.shape, device, torch.bfloat16 if cuda else torch.float32)
    model = prepare_for_training(model, training).to(device).train()
    batch = make_batch(options.batch_size, options.image_side, options.answer_tokens, device)
    features = None
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if options.features:
        numbers = range(options.batch_size)
        features = VisionFeatures(options.batch_size, 10**10)
        with torch.autocast("cuda", torch.bfloat16) if cuda else nullcontext():
            values_of(model, batch | {"numbers": [(number, True) for number in numbers]}, features)  # they are kept
        batch["numbers"] = [(number, False) for number in numbers]
        del batch["pixel_values"]
    optimizer, loss = torch.optim.AdamW(weights, lr=1e-5, fused=True), TokenLoss()
    count = int((batch["labels"] != IGNORED).sum())
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds, clock = [], time.perf_counter if cuda else time.process_time
    for _ in range(options.steps + 1):
        before = clock()
        with torch.autocast("cuda", torch.bfloat16) if cuda else nullcontext():
            value = answer_loss(model, values_of(model, batch, features), loss).total / count
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(clock() - before)
    tokens = batch["input_ids"].numel()
    return StepTimes(statistics.median(seconds[1:]), tokens, peak_memory_gib(cuda)), count_parameters(model)


def main() -> None:
    """Measure what is asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shape", choices=["real", "small"], default="real")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[1])
    parser.add_argument("--image-side", type=int, default=896, help="pixels; 28 x 28 are a token")
    parser.add_argument("--answer-tokens", type=int, default=512)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10, help="counted steps, after one that is not")
    parser.add_argument("--gradient-checkpointing", choices=["on", "off", "both"], default="both")
    parser.add_argument("--json", type=Path, help="file for the figures of all ways")
    parser.add_argument("--features", action="store_true", help="image features are known, as from the second epoch on")
    options = parser.parse_args()
    logging.set_verbosity_error()
    ways = {"on": [True], "off": [False], "both": [True, False]}[options.gradient_checkpointing]
    table = Table("batch", "checkpointing", "tokens a step", "s a step", "tokens/s", "peak GiB", "trained", "weights")
    rows = []
    for size in options.batch_size:
        for checkpointing in ways:  # the smaller first: a process's peak never falls again
            found, parameters = measure(argparse.Namespace(**{**vars(options), "batch_size": size}), checkpointing)
            table.add_row(
                *(str(size), "on" if checkpointing else "off", f"{found.tokens:,}", f"{found.seconds:.3f}"),
                *(f"{found.tokens / found.seconds:,.0f}", f"{found.peak_gib:.2f}"),
                *(f"{parameters['trainable']:,}", f"{parameters['total']:,}"),
            )
            rows.append({"batch": size, "checkpointing": checkpointing, **asdict(found)})
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1) + "\n")
            if options.device == "cuda":
                torch.cuda.empty_cache()
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    Console(width=120).print(f"{options.shape} shape on {device}, LoRA of rank {options.rank}", table)


if __name__ == "__main__":
    main()
