"""Our configuration in transformers' words."""

from __future__ import annotations

import os
from pathlib import Path

from transformers import TrainingArguments

from receipt_trainer.config_vl import TrainingSection
from receipt_trainer.training import hardware


def training_arguments(
    config: TrainingSection, run_dir: Path, cuda: bool, precision: hardware.Precision
) -> TrainingArguments:
    """transformers' arguments for a configuration."""
    arguments = TrainingArguments(
        output_dir=str(run_dir),
        num_train_epochs=config.num_train_epochs,
        max_steps=config.max_steps or -1,
        per_device_train_batch_size=config.per_device_train_batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_steps=config.warmup_ratio,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        optim="adamw_torch_fused",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_steps=config.logging_steps,
        logging_nan_inf_filter=False,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        seed=config.seed,
        bf16=precision == "bf16",
        dataloader_num_workers=config.dataloader_workers,
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        label_names=["labels"],
        ddp_find_unused_parameters=False,
        use_cpu=not cuda,
        disable_tqdm=True,
        report_to=[],
        log_level="error",
    )
    if cuda and "LOCAL_RANK" not in os.environ:
        arguments._n_gpu = 1  # DataParallel would split the patches of a batch apart; several GPUs go through torchrun
    return arguments
