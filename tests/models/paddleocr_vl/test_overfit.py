from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.fork_server import Program
from tests.models.paddleocr_vl.receipts import write_receipts
from tests.models.paddleocr_vl.runs import ALL_LINEAR, vl_train, write_config
from tests.models.paddleocr_vl.tiny import make_tiny
from tests.strikes import VL_LOSS, strike
from tests.training.runs import newest_step, record_of

COUNT = 8


def test_eight_receipts_are_learned_by_heart(vl_cli: Program, tmp_path: Path) -> None:
    """Train with LoRA, kill by SIGKILL, resume, merge, evaluate: the merged model answers all 8 receipts right.

    The start knows nothing at all, so the embeddings, the output layer and the projector are trained beside the
    adapters; they travel with the adapter, and the vision tower keeps its random weights.
    """
    data, log = tmp_path / "data", tmp_path / "log"
    write_receipts(data, COUNT).rename(data / "all.jsonl")
    for name in ("train", "val", "test"):
        (data / f"{name}.jsonl").write_bytes((data / "all.jsonl").read_bytes())
    base = make_tiny(tmp_path / "base")
    config = write_config(
        tmp_path / "config.yaml",
        base,
        data,
        lora={
            **{"r": 32, "lora_alpha": 32, "dropout": 0.0, "target_modules": ALL_LINEAR},
            "modules_to_save": ["embed_tokens", "lm_head", "projector"],
        },
        training={
            **{"learning_rate": 5e-3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1},
            **{"num_train_epochs": 60, "save_steps": 30, "logging_steps": 4},
        },
        evaluation={"documents": 4},
    )
    killed = strike("before", 70, VL_LOSS)
    assert vl_cli.run(vl_train(config), log, killed) == -signal.SIGKILL, log.read_text()
    run_dir = tmp_path / "run"
    assert newest_step(run_dir) > 0
    assert vl_cli.run(vl_train(config), log) == 0, log.read_text()
    record = record_of(run_dir)
    assert record.status == "complete"
    scores = record.vl.scores
    assert (scores.documents, scores.of, scores.field_accuracy, scores.teds) == (4, COUNT, 1.0, 1.0)

    merged, scores = tmp_path / "merged", tmp_path / "scores.json"
    merge = ["vl", "merge", "--base-model", base, "--adapter-path", run_dir / "model", "--output-dir", merged]
    assert vl_cli.run(merge, log) == 0, log.read_text()
    assert not list(merged.glob("adapter*"))
    evaluate = ["vl", "evaluate", "--test-dir", data, "--model-path", merged, "--output", scores]
    assert vl_cli.run([*evaluate, "--max-new-tokens", 200, "--batch-size", 8], log) == 0, log.read_text()
    found = json.loads(scores.read_bytes())["scores"]
    assert found["fields"]["total"] == COUNT * 21
    assert {name: found[name]["value"] for name in ("fields", "numeric", "teds", "parse")} == {
        **{"fields": 1.0, "numeric": 1.0},
        **{"teds": 1.0, "parse": 1.0},
    }
