from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from receipt_trainer.contract.names import ENV_AWS_CLI
from receipt_trainer.local.emulator import LocalCloud
from tests.cli.jobs import Caller
from tests.models.paddleocr_vl.receipts import write_receipts
from tests.models.paddleocr_vl.tiny import make_tiny
from tests.worker.bench import Bench


def test_a_sweep_of_the_second_family(
    call: Caller, bench: Bench, aws: LocalCloud, aws_cli: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ranks of adapters, trained by a worker: ranked by the loss that the runs left, the lowest first."""
    monkeypatch.setenv(ENV_AWS_CLI, str(aws_cli))
    write_receipts(tmp_path / "data", 4)
    write_receipts(tmp_path / "data", 2, seed=1, name="val")
    training: dict[str, Any] = {"num_epochs": 2, "batch_size": 2, "gradient_accumulation_steps": 1, "warmup_ratio": 0.0}
    training |= {"learning_rate": 3e-3, "bf16": False, "gradient_checkpointing": False, "device": "cpu"}
    training["evaluation"] = {"max_new_tokens": 4}
    job = {"job_name": "base", "model": str(make_tiny(tmp_path / "model")), "training_config": training}
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job | {"data_config": {"dataset_path": str(tmp_path / "data")}}))
    words = ("sweep", "--config", str(file), "--queue-url", bench.queue_url, "--name", "ranks")
    queued = call(*words, "--set", "lora.r=2,8")
    assert "2 of 2 trials are queued" in queued.err, queued.err
    bench.worker(artifacts_bucket=aws.bucket).run()
    assert call("sweep", "--resume", "ranks").code == 0
    said = call("sweep-status", "ranks", "--json").json
    assert (said["objective"], said["is_lower_better"]) == ("eval_loss", True)
    for row in said["trials"]:
        record = json.loads((bench.run_dir(row["jobs"][0]["job_id"]) / "run.json").read_text())
        assert record["training_config"]["lora"]["r"] == row["params"]["lora.r"]
        assert row["score"] == pytest.approx(record["vl"]["final"]["eval_loss"])
        assert row["per_region"] == record["vl"]["scores"]["regions"]
    assert said["trials"][0]["score"] < said["trials"][1]["score"]
    assert said["verdict"]["best"] == said["trials"][0]["trial"]
    shown = call("sweep-status", "ranks").out
    assert shown.splitlines()[0].split()[:6] == ["trial", "lora.r", "state", "eval", "loss", "±"]
    assert "fields right in" in shown
    assert "F1" not in shown
    assert "has the lowest mean eval loss of 2 (lower is better)" in shown
