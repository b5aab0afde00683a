"""A run's folder with a model that nobody trained, and its package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.contract.predictions import write_predictions
from receipt_trainer.contract.run_record import LayoutLMRecord
from receipt_trainer.data.decode import choose, receipt_predictions
from receipt_trainer.data.encode import encode
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.synthetic import generate
from receipt_trainer.models.layoutlm.export import save_model
from receipt_trainer.models.layoutlm.model import build, load_tokenizer, resolve
from receipt_trainer.models.layoutlm.predictor import predict
from receipt_trainer.models.layoutlm.serve_export import export_run

SPACE = LabelSpace(("MERCHANT_NAME", "DATE", "GRAND_TOTAL"))


def make_run(run_dir: Path, receipts: Sequence[Receipt] = (), **data: Any) -> Path:
    """Leave a run's folder with a tiny model of drawn weights, predictions of `receipts`, and a package."""
    make_model(run_dir, receipts, **data)
    export_run(run_dir, LayoutLMRecord.model_validate_json((run_dir / "run.json").read_bytes()))
    return run_dir


def make_model(run_dir: Path, receipts: Sequence[Receipt] = (), **data: Any) -> Path:
    """The same without the package, as version 0.1.0 left it."""
    start, config = resolve("tiny"), DataConfig(**data)
    tokenizer = load_tokenizer(start)
    torch.manual_seed(5)
    model = build(start, SPACE, tokenizer, TrainingConfig()).eval()
    torch.nn.init.normal_(model.classifier.weight, std=0.5)  # labels that differ from word to word
    save_model(model, tokenizer, SPACE, config, run_dir / "model")
    receipts = list(receipts) or list(generate(3, 4))
    split = encode(receipts, SPACE, tokenizer, config)
    found = predict(model, split, SPACE).probabilities
    labels = choose(found, split.words, SPACE)
    write_predictions(run_dir / "predictions.jsonl", receipt_predictions(split.words, found, labels, SPACE))
    record = LayoutLMRecord(
        job_name="job",
        job_id="00000000-0000-4000-8000-000000000001",
        model="tiny",
        status="complete",
        label_list=list(SPACE.tags),
        entity_labels=list(SPACE.labels),
        training_config={},
        data_config={},
    )
    record.write(run_dir / "run.json")
    return run_dir
