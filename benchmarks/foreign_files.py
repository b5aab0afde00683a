"""Broken files of all foreign formats: none crashes, none hangs, each is read or refused with a reason.

    python -m benchmarks.foreign_files [--count 2000] [--seed 0]

Prints how many were read and refused, the CPU seconds, the slowest file, and each crash with the file's content.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.load import read_files
from receipt_trainer.errors import UserError
from tests.data.sources.mutations import mutated


def main() -> int:
    """Exit code 1 if any file crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes: Counter[str] = Counter()
    slowest, began = (0.0, ""), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        for form, name, data in mutated(options.count, options.seed):
            path = Path(folder) / name
            path.write_bytes(data)
            start = time.process_time()
            try:
                outcomes["read" if read_files(path, ProblemLog()) else "read, but nothing was sound"] += 1
            except UserError as error:
                outcomes["refused" if str(error) else "refused without a reason"] += 1
            except Exception as error:
                outcomes["crashed"] += 1
                print(f"{form}: {error!r}\n{data!r}")
            slowest = max(slowest, (time.process_time() - start, form))
    counts = ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items()))
    print(f"{options.count} files: {counts}")
    print(f"{time.process_time() - began:.1f} CPU s, slowest {slowest[0]:.3f} s ({slowest[1]})")
    return 1 if outcomes["crashed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
