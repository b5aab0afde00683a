"""Our own programs as processes that start at once: `layoutlm-cli`, `receipt-trainer`, `training` (what a worker
starts), and `start-worker OPTIONS ARGUMENT...`, whose options are JSON: the command of training processes, and where
wanted other `settings` of the worker, `skew_s` of its clock, and the short times of `chaos`.

Every run checks its package on 2 generated receipts and not on 50, which took as long as its training; tests of
packages have the 50.

TEST_UPLOAD_WAIT_S is between two uploads. TEST_LEAP names a file with which a worker and what it starts are an hour
older. TEST_HOOK names a module whose `install` is called with the arguments first.
"""

from __future__ import annotations

import importlib
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from receipt_trainer.cli import layoutlm, receipt_trainer
from receipt_trainer.cli.commands import worker
from receipt_trainer.cli.lazy import run
from receipt_trainer.models.layoutlm import serve_export
from receipt_trainer.reports import page, plots
from receipt_trainer.worker.lease_watchdog import LeaseWatchdog
from receipt_trainer.worker.loop import Worker
from receipt_trainer.worker.main import main as train
from receipt_trainer.worker.settings import WorkerSettings
from tests import strikes
from tests.chaos import times
from tests.worker.wrong_clock import leap, skew

torch.set_num_threads(1)
for _name in (
    *(f"receipt_trainer.cli.commands.{name}" for name in ("train", "vl_train")),
    *(f"receipt_trainer.models.{name}.family" for name in ("layoutlm", "paddleocr_vl")),
    *(f"receipt_trainer.{name}" for name in ("training.run", "data.snapshot", "reports.run_folder")),
    *("receipt_trainer.reports.html", "receipt_trainer.reports.terminal"),
    *("torch._dynamo", "matplotlib.backends.backend_svg", "transformers.models.bert", "peft", "onnxruntime"),
    *(
        f"transformers.models.paddleocr_vl.{kind}_paddleocr_vl"
        for kind in ("modeling", "processing", "image_processing_pil")
    ),
):
    importlib.import_module(_name)

for _name in page.page_environment().list_templates(extensions=["j2"]):
    page.page_environment().get_template(_name)
plots.draw_charts([1.0, 2.0], {"Score": [plots.Series("a", [0.5, 0.6], plots.BLUE)]}, best_epoch=1.0)
get_checkpoint_conversion_mapping("layoutlm")

_FEW = serve_export.generated_receipts()[:2]
_export: Any = serve_export
_export.generated_receipts = lambda: list(_FEW)


def _change_worker(
    command: list[str], settings: dict[str, Any] | None = None, skew_s: float = 0.0, *, chaos: bool = False
) -> None:
    own: Any = worker
    clock = {"clock": leap(Path(os.environ["TEST_LEAP"]))} if "TEST_LEAP" in os.environ else {}
    own.Worker = partial(Worker, command=tuple(command), **clock)
    own.WorkerSettings = partial(WorkerSettings, **(settings or {}))
    if skew_s:
        skew(skew_s)
    if chaos:
        times.shorten_worker()


def main(argv: list[str]) -> int:
    """Run the program that comes first."""
    program, *arguments = argv
    if program == "start-worker":  # what the environment asks for is meant for its training processes
        _change_worker(**json.loads(arguments.pop(0)))
        run(worker.command, arguments)
    strikes.obey()
    if "TEST_UPLOAD_WAIT_S" in os.environ:
        uploads: Any = importlib.import_module("receipt_trainer.aws.artifacts").S3Artifacts.__init__
        uploads.__kwdefaults__["retry_wait_s"] = float(os.environ["TEST_UPLOAD_WAIT_S"])
    if "TEST_LEAP" in os.environ:
        watchdog: Any = LeaseWatchdog.__init__
        watchdog.__kwdefaults__["clock"] = leap(Path(os.environ["TEST_LEAP"]))
    if "TEST_HOOK" in os.environ:
        importlib.import_module(os.environ["TEST_HOOK"]).install(arguments)
    if program == "training":
        return train(arguments)
    run({"layoutlm-cli": layoutlm.group, "receipt-trainer": receipt_trainer.group}[program], arguments)
