"""Configuration of the first model family: every field with its unit, meaning and source."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field, model_validator

from receipt_trainer.config.base import Strict

SIMULATED_MERCHANTS: Final = 0.5
"""What `layoutlm-cli train` takes where nobody says it. A job file without it, as those of 0.1.0, means none."""

FEW_STEPS: Final = 200
"""The same of optimizer steps: ten passes over ten receipts would be 50, too few (docs/lab-notes.md)."""


class TrainingConfig(Strict):
    """How to train. Lengths are in optimizer steps or epochs as said; losses are natural logs."""

    added: ClassVar[frozenset[str]] = frozenset({"export_package", "min_steps"})

    num_epochs: float = Field(10.0, gt=0, le=1000, description="Passes over the training examples")
    max_steps: int = Field(0, ge=0, description="Optimizer steps; above 0 it overrides num_epochs")
    min_steps: int = Field(
        0,
        ge=0,
        description="Optimizer steps at least: where num_epochs make fewer, batches of 256 tokens or more and further "
        "epochs make as many, and the last step's model is kept and scored, as so few receipts choose none; 0: none; "
        f"`layoutlm-cli train` without a job file, --epochs or max_steps: {FEW_STEPS}",
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Examples a device and step; unset: as many as make batch_tokens tokens",
    )
    batch_tokens: int = Field(
        700, ge=16, le=2**20, description="Tokens a device and step where batch_size is unset; batches are balanced"
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Peak of AdamW's schedule; unset: 1.5e-4 from a run of this program, 6e-5 from another LayoutLM, "
        "3e-4 from a BERT or nothing",
    )
    lr_scheduler: Literal["linear", "cosine", "constant_with_warmup"] = Field(
        "linear", description="Shape of the decay after warm-up (transformers' names)"
    )
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of all steps in which the learning rate climbs")
    weight_decay: float = Field(
        0.01, ge=0, le=1, description="Decoupled decay (Loshchilov & Hutter 2019), not on norms"
    )
    max_grad_norm: float = Field(1.0, ge=0, description="Gradient clipping by global L2 norm; 0 turns it off")
    gradient_accumulation_steps: int = Field(1, ge=1, le=1024, description="Batches in one optimizer step")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Mass spread evenly over all tags (Szegedy et al. 2016)"
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="Hidden dropout; unset: the checkpoint's own")
    attention_dropout: float | None = Field(
        None, ge=0, lt=1, description="Attention dropout; unset: the checkpoint's own"
    )
    early_stopping_patience: int = Field(
        0, ge=0, description="Evaluations without a better F1 before stopping; 0: never"
    )
    save_total_limit: int = Field(2, ge=1, description="Checkpoints kept; the best and the newest always are")
    save_steps: int = Field(
        0, ge=0, description="Optimizer steps between checkpoints; 0: one an epoch, with evaluation"
    )
    logging_steps: int = Field(10, ge=1, description="Optimizer steps between logged losses")
    seed: int = Field(42, ge=0, lt=2**32, description="Seed of weights, dropout and the order of examples")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Arithmetic of the matrix products; auto: bf16 where the hardware has it, or fp16 on CUDA, or fp32",
    )
    fp16: bool | None = Field(
        None, description="Short for precision fp16 (true) or fp32 (false), as job files write it"
    )
    tf32: bool = Field(True, description="TensorFloat-32 for fp32 products on NVIDIA GPUs from Ampere on")
    gradient_checkpointing: bool = Field(False, description="Recompute activations in the backward pass to save memory")
    torch_compile: bool = Field(False, description="Compile the model with torch.compile")
    dataloader_workers: int = Field(0, ge=0, le=64, description="Processes that build batches")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train; auto: a GPU if there is one")
    export_package: bool = Field(
        True, description="Leave a model package, which reading needs; without: layoutlm-cli export makes it later"
    )

    @model_validator(mode="after")
    def _one_precision(self) -> TrainingConfig:
        if self.fp16 is not None and self.precision not in ("auto", "fp16" if self.fp16 else "fp32"):
            raise ValueError(f"fp16: {str(self.fp16).lower()} contradicts precision: {self.precision}")
        return self


class DataConfig(Strict):
    """The training data and how it is cut into examples. Lengths are in tokens of the model's tokenizer."""

    added: ClassVar[frozenset[str]] = frozenset({"ocr_errors", "simulated_merchants", "simulated_values"})

    dataset_name: str = Field(
        "dynamodb",
        description="'dynamodb', or files and folders in a format of docs/formats.md; several are joined by commas",
    )
    eval_dataset: str | None = Field(None, description="Files or folders to validate on, instead of a split")
    train_split: str | None = Field(
        None, description="Train on receipts stored under this split; unset: a hashed split"
    )
    eval_split: str | None = Field(None, description="Validate on receipts stored under this split")
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="Share of receipts held out by the hashed split")
    split_seed: int = Field(0, ge=0, description="Another seed holds out other receipts")
    split_file: str | None = Field(None, description="run.json or a file of keys, one a line: the receipts to hold out")
    max_samples: int | None = Field(None, ge=1, description="At most so many training receipts, chosen by hash")
    examples: Literal["line", "receipt", "both"] = Field(
        "both",
        description="Examples are lines, complete receipts in reading order, or both; then a prediction is the mean",
    )
    max_length: int = Field(512, ge=16, le=512, description="Longest example in tokens, with [CLS] and [SEP]")
    use_sliding_window: bool = Field(True, description="Overlap the windows of an example longer than max_length")
    window_stride: int = Field(
        128, ge=0, description="Tokens that neighbouring windows share; 0 without sliding windows"
    )
    augment: bool = Field(
        True,
        description="Shift and scale each training example's boxes by up to 5 % of the page, newly drawn each epoch",
    )
    ocr_errors: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of training receipts that are learned a second time as OCR might misread them",
    )
    simulated_merchants: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of training receipts whose merchant's name and address are made up, newly drawn each epoch; "
        f"`layoutlm-cli train` without a job file: {SIMULATED_MERCHANTS}",
    )
    simulated_values: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of training receipts whose dates and amounts are made up, newly drawn each epoch",
    )
    merge_amounts: bool = Field(False, description="LINE_TOTAL, SUBTOTAL, TAX and GRAND_TOTAL become AMOUNT")
    allowed_labels: tuple[str, ...] = Field((), description="Labels to learn, after merging; the rest is O; empty: all")
    o_entity_ratio: float | None = Field(
        None, ge=0, description="Drop all-O training examples down to so many O words a labelled word; unset: keep all"
    )
    annotated_labels: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="For each source the labels it annotates; an O word may bear any other. Public sets are known",
    )
    max_words: int = Field(4000, ge=1, description="A receipt with more words is left out as broken")

    @model_validator(mode="after")
    def _consistent(self) -> DataConfig:
        room = self.max_length - 2
        if self.use_sliding_window and self.window_stride >= room:
            raise ValueError(f"window_stride ({self.window_stride}) must be below max_length - 2 ({room})")
        if (self.train_split is None) != (self.eval_split is None):
            raise ValueError("train_split and eval_split are given together or not at all")
        named = [name for name in ("eval_dataset", "split_file", "eval_split") if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} both say what to validate on: give one of them")
        return self
