"""The long form of the chaos test, which is `make chaos`; CHAOS_SEED and CHAOS_JOBS stand for two of the flags."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from receipt_trainer.local.emulator import LocalCloud
from tests.chaos.invariants import judge
from tests.chaos.measures import print_tables
from tests.chaos.plan import make_plan
from tests.chaos.run import ChaosRun
from tests.fork_server import Program


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("CHAOS_JOBS") or 20))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CHAOS_SEED") or 1))
    parser.add_argument("--seconds", type=float, default=900.0, help="the run fails if it takes longer")
    parser.add_argument("--short", action="store_true", help="each kind of the short form once")
    parser.add_argument("--keep", action="store_true", help="keep logs and journal also when all is as it must be")
    options = parser.parse_args()
    console, began = Console(width=160), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    plan = make_plan(options.seed, options.jobs, short=options.short)
    console.print(f"seed {options.seed}, {options.jobs} jobs; logs and journal in {folder}", highlight=False)
    with LocalCloud(prefix="chaos-") as cloud:
        environment = cloud.applied_to(os.environ)
        os.environ.clear()
        os.environ.update(environment)
        run = ChaosRun(plan, cloud, Program("training").command, folder)
        evidence = run.run(options.seed, options.seconds)
    print_tables(evidence, options.seed, time.monotonic() - began, console)
    problems = judge(evidence)
    for problem in problems:
        console.print(problem, style="red", markup=False, highlight=False)
    if problems:
        console.print(f"{len(problems)} things are not as they must be; the evidence is in {folder}", highlight=False)
        return 1
    console.print("all as it must be", highlight=False)
    if not options.keep:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
