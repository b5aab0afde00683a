"""A model package: the folder `model/serve/` of a run, which is all that reading needs."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SERVE_DIR: Final = "serve"
"""Below a run's model/ folder."""
MANIFEST_FILE: Final = "manifest.json"
"""Written last: a package that has it is complete."""
ONNX_FP32: Final = "model.onnx"
ONNX_INT8: Final = "model.int8.onnx"
TOKENIZER_FILE: Final = "tokenizer.json"
KNOWN_FILE: Final = "known.json"
"""Merchants and addresses that stand in several training receipts: {"merchants": [text], "addresses": [text]}."""
SAMPLE_FILE: Final = "sample.json"
"""A generated receipt and the labels that the model must give its words."""

PackagePrecision = Literal["fp32", "int8"]


class PackageFile(BaseModel):
    """A file of the package."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="Bytes")


class PackageScores(BaseModel):
    """What was measured on the run's validation receipts, and on generated ones, at export."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    f1_fp32: float | None = Field(None, description="Entity F1 on validation; None without validation receipts")
    f1_int8: float | None = None
    same_labels: float | None = Field(None, description="Share of words that get fp32's label in int8, 0..1")
    num_validation: int = Field(0, description="Validation receipts that were read")
    reason: str | None = Field(None, description="Why int8 was not taken")


class Calibration(BaseModel):
    """How probabilities become confidences: of words by a temperature, of fields' values by a logistic curve."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    calibrated: bool = Field(False, description="False below 30 validation receipts: then nothing was fitted")
    temperature: float = Field(1.0, gt=0, description="The logarithms of a word's probabilities are divided by it")
    field_slope: float = 1.0
    field_offset: float = Field(
        0.0, description="A field's confidence is sigmoid(slope * logit(p) + offset), p the product of its words'"
    )
    word_error: float | None = Field(None, description="Expected calibration error of words on receipts not fitted on")
    field_error: float | None = Field(None, description="The same of fields")


class Windows(BaseModel):
    """How receipts are cut for the model; as in training."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    examples: Literal["line", "receipt", "both"]
    max_length: int
    use_sliding_window: bool
    window_stride: int


class SpecialTokens(BaseModel):
    """Ids of the tokens that no text gives."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    cls: int = Field(description="Begins a window")
    sep: int = Field(description="Ends it")
    unk: int = Field(description="Stands for a word of which the tokenizer makes nothing")


class PackageManifest(BaseModel):
    """manifest.json of a LayoutLM package."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal[1] = 1
    family: Literal["layoutlm"] = "layoutlm"
    job_name: str
    job_id: str
    created_at: str = Field(description="ISO 8601, UTC")
    trainer_version: str
    labels: tuple[str, ...] = Field(description="Entity labels in the order of the model's ids, without prefix")
    merge_amounts: bool = False
    annotated: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="For each source that annotates only some labels, those that it does"
    )
    windows: Windows
    special_tokens: SpecialTokens
    precision: PackagePrecision = Field(description="The model that reading loads")
    opset: int
    calibration: Calibration = Calibration()
    name_change_cost: float = Field(
        0.0, ge=0, description="As `whole_lines` takes it; 0 in packages that were made before there was one"
    )
    date_orders: dict[Literal["dmy", "mdy", "ymd"], int] = Field(
        default_factory=dict, description="How many training dates can be read in this order alone"
    )
    amount_marks: dict[str, int] = Field(
        default_factory=dict,
        description="What the mark before the last three digits of training amounts was, where that is clear: counts "
        "of '.decimal', '.thousands', ',decimal', ',thousands'",
    )
    scores: PackageScores = PackageScores()
    files: dict[str, PackageFile]
