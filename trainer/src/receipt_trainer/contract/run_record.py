"""run.json: what a run was asked, saw and reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from receipt_trainer.files import write_atomically


class Score(BaseModel):
    """Entity-level precision, recall and F1 in 0..1 (seqeval), with the number of gold entities."""

    precision: float
    recall: float
    f1: float
    support: int


class EpochMetrics(BaseModel):
    """One evaluation. Losses are means over supervised words (natural log)."""

    epoch: float
    step: int
    train_loss: float | None = None
    eval_loss: float | None = None
    precision: float
    recall: float
    f1: float
    learning_rate: float | None = None
    elapsed_s: float = Field(description="Training time so far, over all attempts, in seconds")


class Confusion(BaseModel):
    """Word-level confusion counts: rows are gold, columns predicted, both in the order of `labels`."""

    labels: list[str]
    counts: list[list[int]]


class SplitRecord(BaseModel):
    """Which receipts were held out, and how to hold out the same again (`--split-file`)."""

    seed: int
    hash: str = Field(description="sha256 of the sorted keys of both sides")
    validation_keys: list[str]
    train_count: int
    validation_count: int


class Best(BaseModel):
    """The evaluation whose model was kept."""

    epoch: float
    step: int
    f1: float


class RunRecord(BaseModel):
    """The run record. `status` is `complete` only when all else of the run is in its place."""

    model_config = ConfigDict(extra="ignore")

    schema_version: int = 1
    status: Literal["running", "complete", "failed"] = "running"
    family: Literal["layoutlm", "paddleocr-vl"] = "layoutlm"
    job_name: str
    job_id: str
    model: str
    training_config: dict[str, Any]
    data_config: dict[str, Any]
    label_list: list[str] = Field(description="Tags in the order of the model's ids")
    entity_labels: list[str] = Field(default_factory=list, description="Labels that are scored, without BIO prefix")
    dataset_counts: dict[str, Any] = Field(default_factory=dict)
    split: SplitRecord | None = None
    epoch_metrics: list[EpochMetrics] = Field(default_factory=list)
    overall: Score | None = Field(None, description="Score of the kept model on the validation receipts")
    per_label: dict[str, Score] = Field(default_factory=dict, description="The same for each label")
    per_source: dict[str, Score] = Field(default_factory=dict, description="The same for each source of receipts")
    confusion: Confusion | None = None
    best: Best | None = None
    vl: dict[str, Any] = Field(
        default_factory=dict,
        description="Of the family paddleocr-vl: evaluations (epoch, step, train_loss, eval_loss, eval_accuracy, "
        "learning_rate, elapsed_s), best (the evaluation whose model was kept), eval_loss (its loss), parameters "
        "(trainable, total), peak_memory_gib, left_out (id and reason), scores (of the kept model's answers: "
        "field_accuracy, teds, numeric_accuracy, parse_share, 0..1; regions; documents scored, of how many)",
    )
    timings: dict[str, float] = Field(default_factory=dict, description="Seconds, and rates a second")
    versions: dict[str, str] = Field(default_factory=dict)
    hardware: dict[str, Any] = Field(default_factory=dict)
    cost: dict[str, float] = Field(default_factory=dict, description="US dollars, where a price is known")
    started_at: str | None = None
    finished_at: str | None = None
    error: str | None = None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a run.json.

        Raises:
            OSError, pydantic.ValidationError: no such file, or not a run record.
        """
        return cls.model_validate_json(path.read_bytes())

    def write(self, path: Path) -> None:
        """Replace `path` atomically: readers see the old record or the new one, never a part."""
        write_atomically(path, self.model_dump_json(indent=1).encode())
