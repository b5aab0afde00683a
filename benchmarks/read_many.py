"""`receipt-trainer read FOLDER --output FILE` over thousands of files, killed twice and run again.

    python -m benchmarks.read_many MODEL WORK [--files 10000] [--photos 60] [--workers 2]

WORK is a folder for files that are made. The first run gets SIGKILL after a third of the answers, the second SIGTERM
after two thirds; then files are changed, removed, renamed and added, and the third run ends by itself. What is checked:
each file that is there has one answer, of its content as it is; no line is double, none is broken. A fourth run has
nothing to read: its time is what it costs to look. CPU is that of the process, RSS its peak.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.read_photos import hard_photo
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate

DISTINCT = 400
"""Receipts that are made; files beyond repeat them under other names."""
EDITS = 50
"""Files that are changed, removed, renamed and added, each."""


@dataclass(frozen=True)
class Ended:
    """A run of the command: how it ended, answers in the file then, CPU and clock seconds, MB of memory at most."""

    code: int
    answers: int
    cpu_s: float
    wall_s: float
    peak_mb: int


def make_files(folder: Path, files: int, photos: int) -> None:
    """Word files of a receipt each, in folders of 500, and photos."""
    records = [json.loads(to_line(receipt)) for receipt in generate(DISTINCT, 11)]
    for number in range(files - photos):
        place = folder / f"{number // 500:03d}"
        place.mkdir(parents=True, exist_ok=True)
        record = {**records[number % DISTINCT], "id": f"r{number}"}
        (place / f"r{number:05d}.json").write_text(json.dumps(record))
    for number in range(photos):
        image, _ = hard_photo(7, number % 10, 0.0, size_of=0.6)
        (folder / "photos").mkdir(exist_ok=True)
        image.save(folder / "photos" / f"p{number:04d}.jpg", quality=60 + number % 30)


def edit(folder: Path) -> None:
    """Change, remove, rename and add files, some of which are read already and some not."""
    names = sorted(folder.rglob("r*.json"))
    step = len(names) // (3 * EDITS)
    for number, path in enumerate(names[:: max(1, step)][: 3 * EDITS]):
        if number % 3 == 0:
            record = json.loads(path.read_text())
            record["words"] = record["words"][1:]
            path.write_text(json.dumps(record))
        elif number % 3 == 1:
            path.unlink()
        else:
            path.rename(path.with_name(f"renamed-{path.name}"))
    for number in range(EDITS):
        (folder / f"added{number}.json").write_text(names[-1 - number].read_text().replace('"id": "r', '"id": "a'))


def run(command: list[str], output: Path, stop_at: int | None = None, how: int = signal.SIGKILL) -> Ended:
    """Run it, and stop it once so many answers are written."""
    start = time.monotonic()
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while stop_at is not None and child.poll() is None and lines_of(output) < stop_at:
        time.sleep(0.2)
    if stop_at is not None:
        child.send_signal(how)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = usage.ru_utime + usage.ru_stime
    return Ended(child.returncode, lines_of(output), cpu_s, time.monotonic() - start, usage.ru_maxrss // 1024)


def lines_of(path: Path) -> int:
    """Complete lines of a file that may not be there."""
    try:
        with path.open("rb") as stream:
            return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))
    except FileNotFoundError:
        return 0


def faults(folder: Path, output: Path) -> list[str]:
    """What is wrong with the answers of a folder."""
    wanted = {str(path): path for path in folder.rglob("*") if path.is_file()}
    seen: Counter[str] = Counter()
    gone, old, refused = 0, 0, 0
    for line in output.read_bytes().splitlines():
        answer = json.loads(line)
        file = answer["source"]["file"]
        seen[file] += 1
        refused += "error" in answer
        if file not in wanted:
            gone += 1
        elif answer["source"]["sha256"] != hashlib.sha256(wanted[file].read_bytes()).hexdigest():
            old += 1
    lost = len(wanted.keys() - seen.keys())
    double = sum(count > 1 for count in seen.values())
    found = {"lost": lost, "double": double, "of old content": old, "refused": refused, "of files gone": gone}
    return [f"{count} {name}" for name, count in found.items() if count]


def main() -> None:
    """Make, run, stop, edit, run and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("work", type=Path)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    folder, output = arguments.work / "files", arguments.work / "out.jsonl"
    if not folder.exists():
        make_files(folder, arguments.files, arguments.photos)
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "receipt_trainer", "read", str(folder), "--model", arguments.model]
    command += ["--output", str(output), "--workers", str(arguments.workers), "--no-progress"]
    table = Table("run", "ended with", "answers", "CPU s", "s", "peak MB")

    def note(name: str, ended: Ended) -> None:
        table.add_row(
            name, *map(str, (ended.code, ended.answers, f"{ended.cpu_s:.0f}", f"{ended.wall_s:.0f}", ended.peak_mb))
        )
        print(name, ended, file=sys.stderr, flush=True)

    note("SIGKILL after a third", run(command, output, arguments.files // 3))
    note("SIGTERM after two thirds", run(command, output, 2 * arguments.files // 3, signal.SIGTERM))
    edit(folder)
    note("to the end", run(command, output))
    after = output.read_bytes()
    note("nothing to do", run(command, output))
    Console(width=120).print(table)
    print(
        "faults:",
        ", ".join(faults(folder, output)) or "none",
        "; unchanged by the last run:",
        after == output.read_bytes(),
    )


if __name__ == "__main__":
    main()
