from __future__ import annotations

from pathlib import Path

from receipt_trainer.data.document import decoded
from receipt_trainer.data.document_set import TrainedAs, read_examples, trained_as
from tests.fork_server import Program
from tests.models.paddleocr_vl.by_heart import learn_by_heart
from tests.training.runs import record_of

COUNT = 2


def test_a_few_receipts_are_learned_by_heart(vl_cli: Program, tmp_path: Path) -> None:
    """In the published form and with line items as rows: train with LoRA, kill by SIGKILL, resume, merge, evaluate,
    predict, smoke: the merged model, rounded to bf16, answers all receipts right and as the adapter did."""
    found = learn_by_heart(vl_cli, tmp_path, COUNT, epochs=60)
    assert found.resumed_at > 0
    record = record_of(found.run_dir)
    assert record.status == "complete"
    scores = record.vl.scores
    assert (scores.documents, scores.of, scores.field_accuracy, scores.teds) == (COUNT, COUNT, 1.0, 1.0)
    assert not list(found.merged.glob("adapter*"))
    assert found.scores["fields"]["total"] == COUNT * 21
    names = ("fields", "numeric", "teds", "parse")
    assert {name: found.scores[name]["value"] for name in names} == dict.fromkeys(names, 1.0)
    truths = [decoded(example.output) for example in read_examples(tmp_path / "data" / "train.jsonl")]
    assert [line["document"] for line in found.lines] == truths
    assert all(',"line_items":[["description",' in line["text"] and not line["problems"] for line in found.lines)
    assert trained_as(found.merged) == TrainedAs("OCR:{}", compact_items=True)
    assert found.smoke[-1] == f"0 problems of files, 0 of {COUNT} comparisons of answers differ"
