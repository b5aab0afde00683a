"""`vl merge`."""

from __future__ import annotations

from pathlib import Path

from receipt_trainer.config.paddleocr_vl import LoraSection
from receipt_trainer.models.paddleocr_vl.lora import attach_lora
from receipt_trainer.models.paddleocr_vl.merge import write_model
from receipt_trainer.models.paddleocr_vl.model import load
from tests.cli.jobs import Caller
from tests.models.paddleocr_vl.tiny import make_tiny


def test_merge(call: Caller, tmp_path: Path) -> None:
    """An adapter is merged once, into a model that loads; a second time the folder is there already."""
    base = make_tiny(tmp_path / "base")
    loaded = load(base, device="cpu")
    write_model(attach_lora(loaded.model, LoraSection(r=2)), loaded.processor, tmp_path / "adapter")
    words = ("vl", "merge", "--base-model", base, "--adapter-path", tmp_path / "adapter")
    said = call.succeed(*words, "--output-dir", tmp_path / "merged").out
    assert str(tmp_path / "merged") in said
    assert load(tmp_path / "merged", device="cpu").adapter is None
    assert "is there already" in call.refuse(*words, "--output-dir", tmp_path / "merged")
