import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "datasets", "pyarrow", "numpy", "matplotlib", "moto")


@pytest.mark.parametrize(
    "modules",
    [
        (
            "contract.names",
            "contract.tables",
            "contract.env",
            "contract.outputs",
            "contract.job",
            "contract.run_record",
        ),
        ("config", "data.labels", "data.split", "data.synthetic", "data.sources.jsonl"),
        (
            "aws.clients",
            "aws.artifacts",
            "jobs.metrics_writer",
            "jobs.rows",
            "data.sources.dynamodb.read",
            "local.emulator",
        ),
        ("jobs.run_store", "worker.main"),
        ("worker.loop", "cli.start_worker"),
        ("cli.layoutlm", "cli.receipt_trainer", "cli.train", "cli.receipts_import"),
    ],
)
def test_what_the_base_install_uses_needs_no_training_packages(modules: tuple[str, ...]) -> None:
    """A laptop without torch can import all that submits, stores, configures and moves receipts."""
    names = [f"receipt_trainer.{module}" for module in modules]
    program = f"import importlib, json, sys\nfor name in {names!r}: importlib.import_module(name)\n"
    program += "print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(json.loads(done.stdout))


def test_training_does_not_load_aws() -> None:
    """What trains knows receipts, models and ports, and none of the rooms that talk to AWS or people."""
    program = "import json, sys, receipt_trainer.training.run\nprint(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ours = {name for name in json.loads(done.stdout) if name.startswith("receipt_trainer.")}
    assert not {name for name in ours if name.split(".")[1] in ("aws", "jobs", "cli", "reports", "local")}
