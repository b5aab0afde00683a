"""`receipt-trainer serve` on one processor under load: latency, rate, overload, growth, mutated bodies, swaps, its end.

    python -m benchmarks.serve_load RUN words.jsonl --photo photo.jpg --other RUN [--requests 5000] [--only swaps]

The server runs on one processor (the last that this process may use) and the clients on the others: on a machine with
two, look at the load average that is printed with each part. RUN is a run's folder, the other one has other weights;
words.jsonl has receipts of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from receipt_trainer.local.emulator import LocalCloud
from tests.cli.test_stack import exported
from tests.serving.mutate import mutated
from tests.serving.pointed import Bucket

READ = "/v1/receipts:read"
JSON = {"Content-Type": "application/json"}
PATIENCE_S = 120
READ_WELL, OVERLOADED, BACKOFF_S = 200, 503, 0.25
OVERLOAD = 4
"""Times what the server reads: so much is offered, whether it is answered or not."""
_LOOKS_OFTEN = """
from receipt_trainer.cli.receipt_trainer import main
from receipt_trainer.serving.holder import Holder
Holder.__init__.__kwdefaults__["look_s"] = 0.5
main()
"""
SWAP_REQUESTS, SWAP_CLIENTS, NUM_SWAPS = 2000, 2, 5
PARTS = ("swaps", "photos", "one", "overload", "slow", "fuzz", "end")
ALLOWED = {200, 400, 413, 415, 422}
"""Statuses of mutated bodies."""


@dataclass
class Observed:
    """What clients saw: seconds of each answer by status, connections that ended without one, and what was read."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """Answers by name and version of the model, receipt, and hash of its words' labels and confidences."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status: int, seconds: float, body: bytes = b"") -> None:
        """Count an answer."""
        answer = json.loads(body) if status == READ_WELL and body else None
        with self.lock:
            self.seconds.setdefault(status, []).append(seconds)
            if answer is not None:
                read = json.dumps([(word["label"], word["confidence"]) for word in answer["words"]])
                digest = hashlib.sha256(read.encode()).hexdigest()
                self.answers[answer["model"]["name"], answer["model"]["version"], answer["id"], digest] += 1

    def __str__(self) -> str:
        told = [f"{status}: {quantiles(found)}" for status, found in sorted(self.seconds.items())]
        return "; ".join([*told, *(f"{name}: {count}" for name, count in self.faults.items())])


def quantiles(seconds: Sequence[float]) -> str:
    """Count, median, p99 and maximum in milliseconds."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    median, late, most = (f"{1e3 * one:.0f}" for one in (statistics.median(ordered), p99, ordered[-1]))
    return f"n {len(ordered)}, p50 {median}, p99 {late}, max {most} ms"


class Server:
    """A server on one processor."""

    def __init__(self, folder: Path, cpu: int, *command: object) -> None:
        """Start it.

        Args:
            folder: gets its log, and its corrections.
            cpu: number of its processor.
            command: what goes before the options that all have, with the choice of the model.
        """
        began = time.monotonic()
        log = (folder / "serve.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command), "--no-browser", "--port", "0", "--workers", "1"],
            stdout=log,
            stderr=log,
            cwd=folder,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
        )
        while not (found := re.search(r"http://\S+:(\d+)/ answers", (folder / "serve.log").read_text())):
            if self.process.poll() is not None:
                sys.exit((folder / "serve.log").read_text())
            time.sleep(0.01)
        self.port = int(found[1])
        self.start_s = time.monotonic() - began

    def connect(self) -> HTTPConnection:
        """A connection that is kept alive."""
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def cpu_s(self) -> float:
        """CPU seconds of the process, without its children."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Resident memory of the process, without its children."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def ask(server: Server, bodies: Iterator[bytes], seen: Observed, stop: Callable[[], bool]) -> None:
    """One client: a request after the other; a refused connection ends it."""
    client = server.connect()
    while not stop():
        began = time.monotonic()
        try:
            client.request("POST", READ, next(bodies), JSON)
            answer = client.getresponse()
            body = answer.read()
        except ConnectionRefusedError:
            return
        except (OSError, HTTPException) as error:
            seen.faults[type(error).__name__] += 1
            client.close()
            if stop():
                return
            continue
        seen.add(answer.status, time.monotonic() - began, body)
        if answer.status == OVERLOADED:
            time.sleep(BACKOFF_S)  # so that what is offered is a multiple of what is read, not all that the clients can


@contextlib.contextmanager
def clients(server: Server, bodies: Sequence[bytes], count: int) -> Iterator[Observed]:
    """So many clients at work during the block."""
    seen, ended = Observed(), threading.Event()

    def endless(random: Random) -> Iterator[bytes]:
        while True:
            yield random.choice(bodies)

    threads = [
        threading.Thread(target=ask, args=(server, endless(Random(n)), seen, ended.is_set)) for n in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def until(count: int, seen: Observed) -> None:
    """Wait for so many answers."""
    while sum(map(len, seen.seconds.values())) < count:
        time.sleep(0.01)


def one_by_one(server: Server, bodies: Sequence[bytes], count: int) -> None:
    """Latency and CPU of one client."""
    before, rss = server.cpu_s(), server.rss_mb()
    with clients(server, bodies, 1) as seen:
        until(count, seen)
    total = sum(map(len, seen.seconds.values()))
    print(f"one client: {seen}; CPU {1e3 * (server.cpu_s() - before) / total:.1f} ms each")
    print(f"  memory {rss:.0f} MB before, {server.rss_mb():.0f} MB after {total} requests")


async def offered(port: int, bodies: Sequence[bytes], rate: float, seconds: float) -> Observed:
    """So many requests a second, each when it is due, however many are not answered yet."""
    seen, idle, tasks = Observed(), list[tuple[asyncio.StreamReader, asyncio.StreamWriter]](), []

    async def send(body: bytes) -> None:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        began = time.monotonic()
        head = (
            f"POST {READ} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        writer.write(f"{head}\r\n\r\n".encode() + body)
        answered = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(answered.partition("content-length: ")[2].partition("\r\n")[0]))
        seen.add(int(answered.split()[1]), time.monotonic() - began)
        idle.append((reader, writer))

    began = time.monotonic()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(send(bodies[number % len(bodies)])))
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        seen.faults.update([type(result).__name__] if isinstance(result, BaseException) else [])
    for _, writer in idle:
        writer.close()
    return seen


def overload(server: Server, bodies: Sequence[bytes], seconds: float) -> None:
    """What four clients are read a second, and then a multiple of it."""
    began = time.monotonic()
    with clients(server, bodies, 4) as busy:
        time.sleep(seconds)
    rate = len(busy.seconds[READ_WELL]) / (time.monotonic() - began)
    print(f"4 clients: {rate:.1f} read a second; {busy}")
    seen = asyncio.run(offered(server.port, bodies, OVERLOAD * rate, seconds))
    print(f"offered {OVERLOAD * rate:.0f} a second: {len(seen.seconds[READ_WELL]) / seconds:.1f} read a second; {seen}")
    late = sum(one > 0.05 for one in seen.seconds.get(OVERLOADED, ()))
    print(f"  {late} refusals took more than 50 ms")


def slow_ones(server: Server, bodies: Sequence[bytes], count: int) -> None:
    """Half-sent requests on many connections, and a client that works meanwhile."""
    half = f"POST {READ} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 9000\r\n\r\nx"
    with contextlib.ExitStack() as stack:
        for text in ("", "GET / HTTP/1.1\r\nHo", half):
            for _ in range(count // 3):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                one.sendall(text.encode())
        with clients(server, bodies, 1) as seen:
            until(50, seen)
    print(f"beside {count} connections that send half a request: {seen}")


def fuzz(server: Server, record: dict[str, object], photo: bytes, count: int) -> None:
    """Mutated bodies, one after the other."""
    random, seen = Random(11), Observed()
    client = server.connect()
    for _ in range(count):
        body, kind, _ = mutated(random, record, photo)
        began = time.monotonic()
        client.request("POST", READ, body, {"Content-Type": kind})
        answer = client.getresponse()
        answer.read()
        seen.add(answer.status, time.monotonic() - began)
    wrong = sum(len(found) for status, found in seen.seconds.items() if status not in ALLOWED)
    print(f"memory {server.rss_mb():.0f} MB; {count} mutated bodies, {wrong} answered by a fault: {seen}")


def photos(server: Server, photo: bytes, count: int) -> None:
    """Photos, one after the other."""
    seen, client = Observed(), server.connect()
    for _ in range(count):
        began = time.monotonic()
        client.request("POST", READ, photo, {"Content-Type": "image/jpeg"})
        answer = client.getresponse()
        answer.read()
        seen.add(answer.status, time.monotonic() - began)
    print(f"photos: {seen}; memory of the server {server.rss_mb():.0f} MB")


def swaps(runs: Sequence[Path], folder: Path, cpu: int, bodies: Sequence[bytes]) -> None:
    """Two models promoted in turn under load by the pointer in a bucket of the embedded AWS; the server looks often.

    Their weights differ, so that an answer of which any word was read by the other model is seen.
    """
    with LocalCloud(prefix="swaps-") as cloud:
        os.environ.update(cloud.environment() | {"XDG_CACHE_HOME": str(folder / "cache")})
        bucket = Bucket(runs[0] / "model" / "serve")
        bucket.promote("job-0")
        outputs = folder / "outputs.json"
        outputs.write_text(json.dumps(exported("receipts") | {"artifacts_bucket": bucket.name}))
        server = Server(folder, cpu, "-c", _LOOKS_OFTEN, "serve", "--outputs", outputs)
        began = time.monotonic()
        try:
            with clients(server, bodies, SWAP_CLIENTS) as seen:
                for number in range(1, NUM_SWAPS + 1):
                    until(number * SWAP_REQUESTS // (NUM_SWAPS + 1), seen)
                    bucket.package = runs[number % 2] / "model" / "serve"
                    bucket.promote(f"job-{number}")
                until(SWAP_REQUESTS, seen)
            seconds = time.monotonic() - began
        finally:
            server.process.kill()
    failed = sum(len(found) for status, found in seen.seconds.items() if status != READ_WELL) + seen.faults.total()
    print(f"{NUM_SWAPS} swaps under {SWAP_CLIENTS} clients in {seconds:.0f} s: {failed} failed; {seen}")
    _tell_mixed(seen)


def _tell_mixed(seen: Observed) -> None:
    """Answers that no single model gives: with the version of another job, or words that its weights do not read so."""
    foreign = sum(count for (name, version, _, _), count in seen.answers.items() if version.partition("/")[0] != name)
    read: dict[tuple[str, str], Counter[str]] = {}
    for (_, version, receipt, digest), count in seen.answers.items():
        read.setdefault((version.partition("/")[2], receipt), Counter())[digest] += count
    odd = sum(found.total() - max(found.values()) for found in read.values())
    both = [receipt for weights, receipt in read if weights == min(one for one, _ in read)]
    alike = sum(len({next(iter(found)) for (_, one), found in read.items() if one == receipt}) == 1 for receipt in both)
    by_job = Counter[str]()
    for (name, *_), count in seen.answers.items():
        by_job[name] += count
    print(f"  {foreign} answers with another job's version, {odd} that differ from the others of the same weights;")
    print(f"  the weights answer {alike} of {len(both)} receipts alike; answers by job: {dict(sorted(by_job.items()))}")


def end(server: Server, bodies: Sequence[bytes]) -> None:
    """SIGTERM under load."""
    with clients(server, bodies, 8) as seen:
        until(50, seen)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(60)
    print(f"SIGTERM under 8 clients: exit code {code} after {time.monotonic() - began:.1f} s; {seen}")


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("words", type=Path, help="JSON lines of receipts")
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=5000, help="Of the parts that count; default: 5,000")
    parser.add_argument("--seconds", type=float, default=60.0, help="Of the parts with many clients")
    parser.add_argument("--other", type=Path, required=True, help="A run with other weights, to swap with")
    parser.add_argument("--only", choices=PARTS, help="One part of all")
    given = parser.parse_args()
    records = [json.loads(line) for line in given.words.read_text().splitlines()]
    bodies = [json.dumps(record).encode() for record in records]
    *others, cpu = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(others) or {cpu})
    words = statistics.mean(len(record["words"]) for record in records)
    print(f"{len(records)} receipts of {words:.0f} words on average")
    photo = given.photo.read_bytes()
    parts: dict[str, Callable[[Server], None]] = {
        "photos": lambda server: photos(server, photo, max(3, given.requests // 250)),
        "one": lambda server: one_by_one(server, bodies, given.requests),
        "overload": lambda server: overload(server, bodies, given.seconds),
        "slow": lambda server: slow_ones(server, bodies, 120),
        "fuzz": lambda server: fuzz(server, records[0], photo, given.requests),
        "end": lambda server: end(server, bodies),
    }
    with TemporaryDirectory() as folder:
        if given.only in (None, "swaps"):
            print(f"load average {os.getloadavg()[0]:.1f}")
            swaps([given.run.resolve(), given.other.resolve()], Path(folder), cpu, bodies)
        for name, part in parts.items():
            if given.only not in (None, name):
                continue
            server = Server(Path(folder), cpu, "-m", "receipt_trainer", "serve", "--model", given.run.resolve())
            print(
                f"load average {os.getloadavg()[0]:.1f}; ready after {server.start_s:.1f} s, {server.rss_mb():.0f} MB"
            )
            try:
                part(server)
            finally:
                server.process.kill()


if __name__ == "__main__":
    main()
