"""Our configuration in transformers' words."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from transformers import TrainingArguments

from receipt_trainer.config import TrainingConfig
from receipt_trainer.training import hardware


def training_arguments(
    config: TrainingConfig, run_dir: Path, cuda: bool, precision: hardware.Precision
) -> TrainingArguments:
    """transformers' arguments for a configuration."""
    arguments = TrainingArguments(
        output_dir=str(run_dir),
        num_train_epochs=config.num_epochs,
        max_steps=config.max_steps or -1,
        per_device_train_batch_size=config.batch_size or 1,
        learning_rate=config.learning_rate or 0.0,
        lr_scheduler_type=config.lr_scheduler,
        warmup_steps=config.warmup_ratio,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        optim="adamw_torch_fused",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_steps=config.logging_steps,
        logging_nan_inf_filter=False,
        load_best_model_at_end=True,
        metric_for_best_model="eval_f1",
        greater_is_better=True,
        seed=config.seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        tf32=config.tf32 if cuda and torch.cuda.get_device_capability() >= (8, 0) else None,
        activation_checkpointing=config.gradient_checkpointing,
        torch_compile=config.torch_compile,
        dataloader_num_workers=config.dataloader_workers,
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        label_names=["labels"],
        ddp_find_unused_parameters=False,
        # Batches cut by tokens differ in size and are a multiple of the processes already.
        accelerator_config={"even_batches": config.batch_size is not None},
        use_cpu=not cuda,
        disable_tqdm=True,
        report_to=[],
        log_level="error",
    )
    if cuda and "LOCAL_RANK" not in os.environ:
        arguments._n_gpu = 1  # DataParallel would cut packed rows apart; several GPUs go through torchrun
    return arguments
