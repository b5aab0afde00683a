"""Our configurations in transformers' words."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from transformers import TrainingArguments

from receipt_trainer.config.layoutlm import TrainingConfig
from receipt_trainer.config.paddleocr_vl import VlTrainingConfig
from receipt_trainer.training.hardware import Machine

if TYPE_CHECKING:
    from receipt_trainer.training.family import Evaluations


Hyperparameters = TrainingConfig | VlTrainingConfig
"""How to train; what both have under one name is all that a run of any family reads."""


NOT_IN_THE_CURVE: Final = frozenset(
    {
        "save_total_limit",
        "save_steps",
        "logging_steps",
        "early_stopping_patience",
        "dataloader_workers",
        "export_package",
        "vision_cache_gb",
    }
)
"""Hyperparameters that a resumed run may change: its losses do not depend on them."""


_MOST_WORKERS: Final = 8
"""More read from the disk, and hold batches in memory, faster than a GPU learns from them."""
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108
"""Through which batches come from the processes that make them; 64 MiB in a container by default."""
_BYTES_A_PIXEL: Final = 12
"""Three float32 values."""
_MOST_PIXELS: Final = 2_822_400
"""Of an image, by the published model's own bound."""
_AHEAD: Final = 3
"""Batches of a process at once: two are made ahead (torch's prefetch_factor), one is in use."""

logger = logging.getLogger(__name__)


def training_arguments(
    config: Hyperparameters, run_dir: Path, machine: Machine, evaluations: Evaluations[Any, Any], **own: Any
) -> TrainingArguments:
    """transformers' arguments for a configuration; `own` are those that are set differently from family to family."""
    arguments = TrainingArguments(
        output_dir=str(run_dir),
        max_steps=config.max_steps or -1,
        learning_rate=config.learning_rate or 0.0,
        warmup_steps=config.warmup_ratio,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        optim="adamw_torch_fused",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_steps=config.logging_steps,
        logging_nan_inf_filter=False,
        metric_for_best_model=evaluations.metric,
        greater_is_better=evaluations.is_higher_better,
        seed=config.seed,
        bf16=machine.precision == "bf16",
        fp16=machine.precision == "fp16",
        dataloader_num_workers=num_workers(config, machine),
        dataloader_pin_memory=machine.cuda,
        remove_unused_columns=False,
        label_names=["labels"],
        ddp_find_unused_parameters=False,
        use_cpu=not machine.cuda,
        disable_tqdm=True,
        report_to=[],
        log_level="error",
        **own,
    )
    if machine.cuda and "LOCAL_RANK" not in os.environ:
        arguments._n_gpu = 1  # DataParallel would cut a batch's parts apart; several GPUs go through torchrun
    return arguments


def num_workers(config: Hyperparameters, machine: Machine) -> int:
    """Processes that make batches. 0 is as many as help a GPU that learns from images, none for anything else.

    Of images never more than shared memory holds the batches of: where it is full, a worker's batch never arrives.
    """
    if not isinstance(config, VlTrainingConfig) or not (config.dataloader_workers or machine.cuda):
        return config.dataloader_workers
    wanted = config.dataloader_workers or _helpful()
    pixels = config.max_image_pixels or _MOST_PIXELS
    batch = _BYTES_A_PIXEL * pixels * config.per_device_train_batch_size
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else wanted * _AHEAD * batch
    fitting = min(wanted, free // (_AHEAD * batch * _local_processes()))
    if fitting < wanted:
        logger.warning(
            "%d of %d processes read images: %s has %.2g GiB free, and batches of %d images of one process take %.2g "
            "(docker run --shm-size, per_device_train_batch_size, max_image_pixels)",
            fitting,
            wanted,
            SHARED_MEMORY,
            free / 2**30,
            config.per_device_train_batch_size,
            _AHEAD * batch / 2**30,
        )
    return fitting


def _local_processes() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _helpful() -> int:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_WORKERS, max(1, cpus // _local_processes()))
