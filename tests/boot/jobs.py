"""Jobs on the stack, submitted by our own command and looked at in the tables."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from receipt_trainer.contract.tables import job_pk
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.repository import JobTable
from tests.boot.cloud import POOL, Account

CHILD = "receipt_trainer.worker.main"
"""In the command line of a training process."""
NUM_EPOCHS = 3
EXAMPLES = Path(__file__).resolve().parents[2] / "trainer/examples"


class Jobs:
    """The jobs of an account, whose receipts table it fills."""

    def __init__(self, account: Account, folder: Path) -> None:
        self._account, self._folder = account, folder
        self.table = JobTable(account.cloud.client("dynamodb"), account.outputs.jobs_table)
        self._outputs = folder / "outputs.json"
        self._outputs.write_text(account.outputs.model_dump_json())
        self._command("receipts", "generate", "--count", "40", "--output", str(folder / "receipts.jsonl"))
        self._command("receipts", "import", "--outputs", str(self._outputs), str(folder / "receipts.jsonl"))

    def submit(self, example: str = "smoke.yaml", num_epochs: int = NUM_EPOCHS) -> str:
        """Queue an example, by default the smallest one for some more epochs; returns the job's id."""
        job = yaml.safe_load((EXAMPLES / example).read_text())
        job["training_config"] |= {"num_epochs": num_epochs, "logging_steps": 1}
        job["data_config"] |= {"dataset_name": "dynamodb", "max_samples": 16}
        job["resources"] = {"gpu": False}
        file = self._folder / "job.yaml"
        file.write_text(yaml.safe_dump(job))
        said = self._command("submit-job", "--outputs", str(self._outputs), "--config", str(file), "--json")
        return str(json.loads(said)["job_id"])

    def get(self, job_id: str) -> Job:
        """The job as its row says."""
        return self.table.get(job_id)

    def rows(self, job_id: str, prefix: str) -> list[dict[str, Any]]:
        """Rows of a job whose sort key begins so, in order, their values without types."""
        found = self._account.cloud.client("dynamodb").query(
            TableName=self._account.outputs.jobs_table,
            KeyConditionExpression="PK = :pk AND begins_with(SK, :prefix)",
            ExpressionAttributeValues={":pk": {"S": job_pk(job_id)}, ":prefix": {"S": prefix}},
            ConsistentRead=True,
        )
        return [{name: next(iter(value.values())) for name, value in row.items()} for row in found["Items"]]

    def losses(self, job_id: str) -> dict[int, float]:
        """The loss of each step."""
        return {int(row["step"]): float(row["value"]) for row in self.rows(job_id, "METRIC#loss#")}

    def outcomes(self, job_id: str) -> list[str]:
        """How the attempts ended."""
        return [str(row.get("outcome")) for row in self.rows(job_id, "ATTEMPT#")]

    def num_visible(self) -> int:
        """Messages that a worker could receive now."""
        url = self._account.outputs.pools[POOL].queue_urls["normal"]
        name = "ApproximateNumberOfMessages"
        found = self._account.cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return int(found["Attributes"][name])

    def artifacts(self, job_id: str) -> set[str]:
        """Names of the files that the job has in the bucket, without their prefix."""
        prefix = re.sub("^s3://[^/]*/", "", str(self.rows(job_id, "JOB")[0]["artifacts"]))
        bucket = self._account.outputs.artifacts_bucket
        found = self._account.cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        return {one["Key"].removeprefix(prefix).lstrip("/") for one in found.get("Contents", [])}

    def _command(self, *arguments: str) -> str:
        tool = Path(sys.executable).with_name("receipt-trainer")
        environment = self._account.cloud.applied_to(os.environ)
        done = subprocess.run(
            [tool, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout
