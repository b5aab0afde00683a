"""run.json: what a run was asked, saw and reached."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    TypeAdapter,
    model_serializer,
)

from receipt_trainer.contract.job import Family
from receipt_trainer.contract.package import PackageManifest, PackagePrecision
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


class LossEvaluation(BaseModel):
    """One evaluation by the loss of complete answers (natural log, per supervised token) and the right ones' share."""

    epoch: float
    step: int
    train_loss: float | None = None
    learning_rate: float | None = None
    elapsed_s: float = Field(0.0, description="Training time so far, over all attempts, in seconds")
    eval_loss: float | None = Field(description="None where it was NaN or infinite")
    eval_accuracy: float | None = None


class FinalLoss(BaseModel):
    """The same of the model that was kept."""

    eval_loss: float | None = None
    eval_accuracy: float | None = None


class AnswerScores(BaseModel):
    """Scores of the kept model's answers, 0..1; None where there was nothing to hit."""

    field_accuracy: float | None = None
    present_accuracy: float | None = Field(None, description="Field accuracy over the fields that documents have")
    teds: float | None = None
    numeric_accuracy: float | None = None
    parse_share: float | None = None
    regions: dict[str, float | None] = Field(default_factory=dict, description="Field accuracy by part of the document")
    documents: int = Field(0, description="Documents that were scored")
    of: int = Field(0, description="Documents of the validation side")
    max_new_tokens: int = Field(0, description="Longest answer in tokens")
    seconds: float = 0.0


class RehearsalScores(BaseModel):
    """The base's own task, on pages that were not trained on, before and after training.

    Distances are normalized edit distances to the stored texts: 0 the same text, 1 nothing in common.
    """

    pages: int
    mixed: int = Field(0, description="Pages of that task among the training examples")
    before: float
    after: float


class ParameterCounts(BaseModel):
    """Weights that are trained, and all."""

    trainable: int
    total: int


class LeftOut(BaseModel):
    """A document that was not used, and why."""

    id: str
    reason: str


def _none_if_empty(value: Any) -> Any:
    return value or None


_OrNone = BeforeValidator(_none_if_empty)  # version 0.1.0 wrote {} for nothing


class VlResults(BaseModel):
    """Data and scores of a run of the family paddleocr-vl."""

    model_config = ConfigDict(extra="ignore")

    evaluations: list[LossEvaluation] = Field(default_factory=list)
    best: Annotated[LossEvaluation | None, _OrNone] = Field(None, description="The evaluation whose model was kept")
    eval_loss: float | None = Field(None, description="Loss of the best evaluation")
    parameters: Annotated[ParameterCounts | None, _OrNone] = None
    peak_memory_gib: float | None = None
    left_out: list[LeftOut] = Field(default_factory=list)
    final: Annotated[FinalLoss | None, _OrNone] = None
    scores: Annotated[AnswerScores | None, _OrNone] = None
    rehearsal: RehearsalScores | None = None

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not known yet: version 0.1.0 reads it so."""
        said: dict[str, Any] = handler(self)
        return {name: value for name, value in said.items() if value is not None}


class RunRecord(BaseModel):
    """Fields common to all families. `status` is `complete` only when all else of the run is in its place.

    The two configurations are as the version that trained wrote them; that of another one may have other keys.
    """

    model_config = ConfigDict(extra="ignore")

    schema_version: int = 1
    status: Literal["running", "complete", "failed"] = "running"
    family: Family
    job_name: str
    job_id: str
    model: str
    training_config: dict[str, Any]
    data_config: dict[str, Any]
    dataset_counts: dict[str, Any] = Field(default_factory=dict)
    timings: dict[str, float] = Field(default_factory=dict, description="Seconds, and rates a second")
    versions: dict[str, str] = Field(default_factory=dict)
    hardware: dict[str, Any] = Field(default_factory=dict)
    cost: dict[str, float] = Field(default_factory=dict, description="US dollars, where a price is known")
    started_at: str | None = None
    finished_at: str | None = None
    error: str | None = None

    def write(self, path: Path) -> None:
        """Replace `path` atomically: readers see the old record or the new one, never a part."""
        write_atomically(path, self.model_dump_json(indent=1).encode())


class PackageOutcome(BaseModel):
    """What became of the run's model package."""

    precision: PackagePrecision | None = Field(None, description="Of the model that reading loads; None: no package")
    reason: str | None = Field(None, description="Why there is no package, or why its model is not int8")
    folder: str | None = Field(None, description="Within the run's; None: no package, or older than this field")
    f1_fp32: float | None = Field(None, description="Of each precision on the validation receipts, where there are any")
    f1_int8: float | None = None
    num_validation: int = Field(0, description="Validation receipts that they are measured on")
    seconds: float = 0.0

    @classmethod
    def of(cls, manifest: PackageManifest, folder: str) -> PackageOutcome:
        """That of a package that was made.

        Args:
            folder: within the run's.
        """
        scores = manifest.scores
        return cls(
            precision=manifest.precision,
            reason=scores.reason,
            folder=folder,
            f1_fp32=scores.f1_fp32,
            f1_int8=scores.f1_int8,
            num_validation=scores.num_validation,
        )


class LayoutLMRecord(RunRecord):
    """The record of a run of the family layoutlm."""

    family: Literal["layoutlm"] = "layoutlm"
    label_list: list[str] = Field(description="Tags in the order of the model's ids")
    entity_labels: list[str] = Field(default_factory=list, description="Labels that are scored, without BIO prefix")
    split: SplitRecord | None = None
    epoch_metrics: list[EpochMetrics] = Field(default_factory=list)
    overall: Score | None = Field(None, description="Score of the kept model on the validation receipts")
    per_label: dict[str, Score] = Field(default_factory=dict, description="The same for each label")
    per_source: dict[str, Score] = Field(default_factory=dict, description="The same for each source of receipts")
    confusion: Confusion | None = None
    best: Best | None = None
    package: PackageOutcome | None = Field(
        None, description="None until it was tried", exclude_if=lambda outcome: outcome is None
    )


class PaddleOcrVlRecord(RunRecord):
    """The record of a run of the family paddleocr-vl."""

    family: Literal["paddleocr-vl"] = "paddleocr-vl"
    label_list: list[str] = Field(default_factory=list, description="Always empty; version 0.1.0 asks for it")
    vl: VlResults = Field(default_factory=VlResults)


def _family_of(value: Any) -> str | None:
    """The family of a record: the first one's where nothing is said."""
    return str(value.get("family", "layoutlm")) if isinstance(value, dict) else getattr(value, "family", None)


AnyRecord = Annotated[
    Annotated[LayoutLMRecord, Tag("layoutlm")] | Annotated[PaddleOcrVlRecord, Tag("paddleocr-vl")],
    Discriminator(_family_of),
]
"""A record of any family, distinguished by `family`."""

_ANY: Final[TypeAdapter[AnyRecord]] = TypeAdapter(AnyRecord)


def read_record(text: str | bytes) -> AnyRecord:
    """The record in the text of a run.json; pydantic.ValidationError: it is none."""
    return _ANY.validate_json(text)


def load_record(path: Path) -> AnyRecord:
    """Read a run.json; OSError, or pydantic.ValidationError as `read_record`."""
    return read_record(path.read_bytes())
