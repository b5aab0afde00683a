"""CPU time of making clients of AWS: with botocore's descriptions read for each, and shared as `aws.clients` does.

python -m benchmarks.clients [--rounds 20]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import boto3

from receipt_trainer.aws import clients
from receipt_trainer.contract.names import ENV_REGION

SERVICES: dict[str, Callable[[], object]] = {
    "dynamodb": clients.dynamodb,
    "sqs": clients.sqs,
    "s3": clients.s3,
    "ec2": clients.ec2,
}


def cpu_ms(make: Callable[[], object], rounds: int) -> float:
    """Median over rounds, after one that is not counted."""
    make()
    found = []
    for _ in range(rounds):
        before = time.process_time()
        make()
        found.append(1000 * (time.process_time() - before))
    return statistics.median(found)


def main() -> None:
    """Print a line a service."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    os.environ.setdefault(ENV_REGION, "us-east-1")
    for service, shared in SERVICES.items():
        apart = cpu_ms(lambda name=service: boto3.Session(region_name="us-east-1").client(name), rounds)  # type: ignore[misc]
        print(f"{service}: {apart:.0f} ms in a session of its own, {cpu_ms(shared, rounds):.0f} ms shared")


if __name__ == "__main__":
    main()
