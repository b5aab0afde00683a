"""A worker with the environment of an instance, and with nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from infra.pools.user_data import render_user_data
from receipt_trainer.aws import clients
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.imds import ImdsStandIn
from tests.contract.systemd_reader import read_like_systemd
from tests.infra.worker_values import boot_env, worker_env
from tests.queues import new_queue


def test_the_rendered_environment_leads_a_worker_to_its_queue(aws: LocalCloud, jobs_table: str, tmp_path: Path) -> None:
    """worker.env as the user data has it, HOME, and a metadata service: region and credentials are found, a message is.

    Only the endpoint is the test's. The job is none of the table's, which keeps its message hidden for a while.
    """
    sqs, queues = clients.sqs(), {priority: new_queue() for priority in ("high", "normal")}
    worker = worker_env(
        jobs_table=jobs_table,
        instances_table=aws.table_names["instances"],
        queue_url_high=queues["high"],
        queue_url_normal=queues["normal"],
        checkpoints_dir="/dev/shm",  # noqa: S108 - a file system of its own, as an instance's is
        aws_cli=str(Path(sys.executable).with_name("aws")),
    )
    (text,) = re.findall(r"(?ms)^put worker\.env <<'(END_*)'\n(.*?)^\1\n", render_user_data(boot_env(), worker))
    sqs.send_message(
        QueueUrl=queues["normal"],
        MessageBody='{"version": 1, "job_id": "none"}',
        MessageGroupId="none",
        MessageDeduplicationId="none",
    )
    with ImdsStandIn(role="worker") as imds:
        given = {
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL": aws.endpoint,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url,
        }
        running = subprocess.Popen(
            [Path(sys.executable).with_name("receipt-trainer"), "start-worker"],
            env=read_like_systemd(text[1]) | given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        name = "ApproximateNumberOfMessagesNotVisible"
        received = "0"
        while received == "0" and running.poll() is None:
            found = sqs.get_queue_attributes(QueueUrl=queues["normal"], AttributeNames=[name])
            received = found["Attributes"][name]
            time.sleep(0.05)
        running.kill()
        said, _ = running.communicate()
    assert received == "1", said
