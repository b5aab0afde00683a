"""The embedded AWS: there while it is wanted, gone after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.contract.env import WorkerEnv
from receipt_trainer.contract.names import (
    ENV_ARTIFACTS_BUCKET,
    ENV_JOBS_TABLE,
    ENV_RECEIPTS_TABLE,
    ENV_TRAINING_PARAMETER,
)
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.contract.tables import ALL_TABLES
from receipt_trainer.errors import WorldError
from receipt_trainer.local.emulator import LocalCloud
from tests.waiting import wait_for

OUTPUTS = StackOutputs.model_construct(
    project="receipt-trainer",
    environment="dev",
    receipts_table="r",
    jobs_table="j",
    instances_table="i",
    artifacts_bucket="a",
    training_parameter="/training",
    worker_log_group="/worker",
)

PARENT = """
import sys, time
from receipt_trainer.local.emulator import LocalCloud
with LocalCloud() as cloud:
    print(cloud.pid, flush=True)
    time.sleep(300)
"""


def is_running(pid: int) -> bool:
    """Whether a process lives (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it goes between opening and reading
        return False


def test_environment_is_all_that_is_needed(aws: LocalCloud) -> None:
    """With its environment and nothing else the SDK finds every table of the contract and the bucket."""
    assert set(clients.dynamodb().list_tables()["TableNames"]) >= {aws.table_names[shape.name] for shape in ALL_TABLES}
    clients.s3().head_bucket(Bucket=aws.bucket)
    env = WorkerEnv.read(os.environ)
    assert (env.jobs_table, env.artifacts_bucket) == (aws.table_names["jobs"], aws.bucket)


ELSEWHERE = {
    "http_proxy": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "no_proxy": "corp.example",
    "AWS_PROFILE": "nobody",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9",
    "AWS_SESSION_TOKEN": "token",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
}
INSIDE = """
import os
from receipt_trainer.aws import clients
from receipt_trainer.local.emulator import LocalCloud
with LocalCloud() as cloud:
    environment = cloud.applied_to(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    print(*clients.dynamodb().list_tables()["TableNames"], clients.s3().list_buckets()["Buckets"][0]["Name"])
"""


def test_no_environment_of_the_users_leads_elsewhere() -> None:
    """With a proxy, a profile, a token and other endpoints set, it starts and is what our clients find."""
    command = [sys.executable, "-c", INSIDE]
    done = subprocess.run(command, env=os.environ | ELSEWHERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cloud = LocalCloud()
    assert set(done.stdout.split()) == {*cloud.table_names.values(), cloud.bucket}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"no_proxy": "a, localhost", "NO_PROXY": "b"}, "a,localhost,b,127.0.0.1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_an_environment_is_kept_but_for_what_leads_elsewhere(given: dict[str, str], value: str) -> None:
    """Other variables stay; hosts that need no proxy are added to those that are named."""
    applied = LocalCloud().applied_to({**ELSEWHERE, "no_proxy": "", "HOME": "/h", "AWS_MAX_ATTEMPTS": "2", **given})
    assert (applied["HOME"], applied["AWS_MAX_ATTEMPTS"]) == ("/h", "2")
    assert (applied["NO_PROXY"], applied["no_proxy"]) == (value, value)
    assert not {name for name in ELSEWHERE if name.startswith("AWS_")} & applied.keys()


def test_an_empty_cloud_has_nothing_until_a_stack_is_adopted() -> None:
    """`empty=True` creates no table and no bucket and names none; the outputs of a stack are named from then on."""
    with LocalCloud(empty=True) as cloud:
        assert cloud.client("dynamodb").list_tables()["TableNames"] == []
        assert cloud.client("s3").list_buckets()["Buckets"] == []
        assert not {ENV_RECEIPTS_TABLE, ENV_JOBS_TABLE, ENV_ARTIFACTS_BUCKET} & cloud.environment().keys()
        cloud.adopt(OUTPUTS)
        environment = cloud.environment()
    assert (environment[ENV_RECEIPTS_TABLE], environment[ENV_JOBS_TABLE]) == ("r", "j")
    assert (environment[ENV_ARTIFACTS_BUCKET], cloud.bucket) == ("a", "a")
    assert environment[ENV_TRAINING_PARAMETER] == "/training"


def test_a_client_goes_where_the_cloud_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says of profiles, proxies and endpoints, `client` finds the embedded AWS."""
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(name, value)
    with LocalCloud() as cloud:
        assert cloud.client("s3").list_buckets()["Buckets"][0]["Name"] == cloud.bucket
        assert cloud.client("s3") is cloud.client("s3")


def test_the_cloud_alone_needs_no_pulumi() -> None:
    """Only a stack imports pulumi: importing the embedded AWS, or the demo's command, does not."""
    names = "receipt_trainer.local.emulator, receipt_trainer.cli.commands.demo"
    code = f"import sys, {names}; sys.exit('pulumi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_is_left_after_the_context() -> None:
    """The child is gone when the context ends, also when it ends by an error."""
    pid = 0

    def fail() -> None:
        nonlocal pid
        with LocalCloud() as cloud:
            pid = cloud.pid or 0
            assert is_running(pid)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match=r"boom"):
        fail()
    assert not is_running(pid)


def test_the_child_dies_with_its_parent() -> None:
    """SIGKILL to the parent, which can then clean nothing up, ends the embedded AWS too."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not is_running(pid))


def test_a_server_that_does_not_start_is_told_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends at once is a fault of the world that carries its last line, and leaves nothing behind."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorldError, match=r"the embedded AWS ended"), LocalCloud():
        pass
