"""The whole way of a model in the published form: trained, killed, resumed, scored, merged, read with and compared."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any, NamedTuple

from tests.fork_server import Program
from tests.models.paddleocr_vl.published import make_published
from tests.models.paddleocr_vl.receipts import write_receipts
from tests.models.paddleocr_vl.runs import ALL_LINEAR, vl_train, write_config
from tests.models.paddleocr_vl.tiny import PIECES
from tests.strikes import VL_LOSS, strike
from tests.training.runs import newest_step

HEADER = ',"line_items":[["description","quantity","unit_price","total"],['
LEARNED_APART = ["embed_tokens", "lm_head", "projector"]
"""The start knows nothing at all; they travel with the adapter, and the vision tower keeps its random weights."""


class ByHeart(NamedTuple):
    """What each command left.

    Attributes:
        resumed_at: step of the checkpoint from which the killed run went on.
        scores: of the merged model, by their names in scores.json.
        lines: of its answers by `vl predict`.
        smoke: what `vl smoke` said, line by line.
    """

    run_dir: Path
    merged: Path
    resumed_at: int
    scores: dict[str, Any]
    lines: list[dict[str, Any]]
    smoke: list[str]


def learn_by_heart(program: Program, folder: Path, count: int, epochs: int) -> ByHeart:
    """Learn `count` receipts by LoRA, with SIGKILL after half of the steps; every command in a process of its own."""
    data, log, batch = folder / "data", folder / "log", 4
    lines = [json.loads(line) for line in write_receipts(data, count).read_text().splitlines()]
    text = "".join(json.dumps(line | {"instruction": ""}) + "\n" for line in lines)  # asked as the run's prompt says
    for name in ("train", "val", "test"):
        (data / f"{name}.jsonl").write_text(text)
    base = make_published(folder / "base", pieces=[*PIECES, HEADER])
    steps = -(-count // batch) * epochs
    config = write_config(
        folder / "config.yaml",
        base,
        data,
        lora={
            **{"r": 32, "lora_alpha": 32, "dropout": 0.0, "target_modules": ALL_LINEAR},
            "modules_to_save": LEARNED_APART,
        },
        training={
            **{"learning_rate": 5e-3, "per_device_train_batch_size": batch, "gradient_accumulation_steps": 1},
            **{
                "num_train_epochs": epochs,
                "save_steps": steps // 4,
                "logging_steps": 4,
                "compact_items": True,
                "prompt": "OCR:{}",
            },
        },
        evaluation={"documents": 4},
    )

    def run(*words: object) -> str:
        log.unlink(missing_ok=True)
        assert program.run([*words], log) == 0, log.read_text()
        return log.read_text()

    assert program.run(vl_train(config), log, strike("before", steps * 6 // 10, VL_LOSS)) == -signal.SIGKILL
    run_dir, merged, scores, answers = (folder / name for name in ("run", "merged", "scores.json", "answers.jsonl"))
    resumed_at = newest_step(run_dir)
    run(*vl_train(config))
    run("vl", "merge", "--base-model", base, "--adapter-path", run_dir, "--output-dir", merged)
    how = ("--max-new-tokens", 200, "--batch-size", 8, "--device", "cpu")
    run("vl", "evaluate", "--test-dir", data, "--model-path", merged, "--output", scores, *how)
    images = sorted(data.glob("*.png"), key=lambda path: int(re.findall(r"\d+", path.name)[0]))
    run("vl", "predict", *images, "--model-path", merged, "--output", answers, *how)
    smoke = run("vl", "smoke", base, merged, "--adapter", run_dir, "--images", data, "--max-new-tokens", 200)
    read = [json.loads(line) for line in answers.read_text().splitlines()]
    found = json.loads(scores.read_bytes())["scores"]
    return ByHeart(run_dir, merged, resumed_at, found, read, smoke.splitlines())
