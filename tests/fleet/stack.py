"""A stack of two pools on the embedded AWS, as its outputs name it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.contract.tables import JOBS
from tests.infra.pool_cloud import PoolCloud
from tests.queues import new_queue


@dataclass
class Stack:
    """Its pool gpu has instances, its pool cpu has none; `path` is the saved copy of its outputs."""

    outputs: StackOutputs
    path: Path
    gpu: PoolCloud
    cpu: PoolCloud
    ids: list[str]


def stand(client: Any, folder: Path, num_instances: int) -> Stack:
    """Groups, queues and tables; `fall` takes them away."""
    gpu, cpu = PoolCloud(client), PoolCloud(client)
    ids = gpu.make(num_instances)
    cpu.make(0)
    jobs = f"jobs-{uuid4().hex[:8]}"
    client("dynamodb").create_table(**JOBS.create_arguments(jobs))
    pools = {"gpu": _pool(client, gpu, ["g6.xlarge", "g5.xlarge"]), "cpu": _pool(client, cpu, ["c6i.2xlarge"])}
    texts = {name: "x" for name, field in StackOutputs.model_fields.items() if field.annotation in (str, str | None)}
    values = texts | {"private_subnet_ids": [], "pools": pools, "region": "us-east-1"}
    outputs = StackOutputs.parse(values | {"jobs_table": jobs, "instances_table": gpu.table})
    path = folder / "outputs.json"
    path.write_text(json.dumps(outputs.model_dump()))
    return Stack(outputs, path, gpu, cpu, ids)


def _pool(client: Any, cloud: PoolCloud, types: list[str]) -> dict[str, Any]:
    sqs = client("sqs")
    urls = {kind: new_queue(f"{cloud.name}-{kind}", sqs) for kind in ("high", "normal", "dead")}
    return {
        "queue_urls": {kind: urls[kind] for kind in ("high", "normal")},
        "dead_letter_queue_url": urls["dead"],
        "auto_scaling_group": cloud.name,
        "launch_template_id": "lt-0",
        "instance_types": types,
        "market": "spot",
    }


def fall(client: Any, stack: Stack) -> None:
    """Leave nothing."""
    for pool in stack.outputs.pools.values():
        for url in (*pool.queue_urls.values(), pool.dead_letter_queue_url):
            client("sqs").delete_queue(QueueUrl=url)
    client("dynamodb").delete_table(TableName=stack.outputs.jobs_table)
    stack.gpu.drop()
    stack.cpu.drop()
