"""The whole way of PaddleOCR-VL on a few documents: what the first hour with the real model should show, on a CPU.

Trains a tiny model in the published form (flat configuration, its template, bf16 weights) on drawn receipts, with
SIGKILL on the way, resumes, merges, evaluates, predicts and compares the merged model with base and adapter.

    OMP_NUM_THREADS=1 python -m benchmarks.vl_by_heart --documents 20 --epochs 90
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click


@click.command()
@click.option("--documents", type=int, default=20, show_default=True)
@click.option("--epochs", type=int, default=90, show_default=True)
def main(documents: int, epochs: int) -> None:
    from tests.fork_server import Program
    from tests.models.paddleocr_vl.by_heart import learn_by_heart

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = learn_by_heart(Program("receipt-trainer"), Path(folder), documents, epochs)
    click.echo(f"killed, resumed from the checkpoint of step {found.resumed_at}; merged model:")
    for name in ("parse", "fields", "numeric", "teds"):
        click.echo(f"  {name}: {found.scores[name]['value']:.3f}")
    click.echo(f"vl predict: {sum(not line['review'] for line in found.lines)} of {len(found.lines)} need no review")
    click.echo(f"vl smoke: {found.smoke[-1]}")
    click.echo(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
