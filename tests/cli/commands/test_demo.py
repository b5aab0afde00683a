import json
import re
import signal
import sys
from pathlib import Path

import pytest

from receipt_trainer.contract.names import REPORT_FILE, RUN_FILE
from receipt_trainer.contract.run_record import load_record
from receipt_trainer.local.session import ENV_DIR
from tests.cli.jobs import Caller
from tests.fork_server import Program
from tests.local.test_emulator import is_running
from tests.waiting import TIMEOUT_S, wait_for

BIN = Path(sys.executable).parent
ELSEWHERE = {"http_proxy": "http://127.0.0.1:9", "AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}


@pytest.fixture(autouse=True)
def own_session(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the local session that no other test has; gone when the demo is."""
    folder = tmp_path_factory.mktemp("state") / "local"
    monkeypatch.setenv(ENV_DIR, str(folder))
    return folder


def test_the_demo_runs_the_whole_job(tmp_path: Path, own_session: Path) -> None:
    """One command: the stack, receipts into its table, a job through its queue, a worker, artifacts, a report.

    A proxy, a profile and an endpoint of the user's own lead none of it elsewhere; nothing but the run's folder stays.
    Worker and training are forked here; in the test of a demo that is ended they are started.
    """
    commands = json.dumps([Program(name).command for name in ("start-worker", "training")])
    run_dir = tmp_path / "run"
    done = Program("receipt-trainer").complete(
        [
            *("demo", "--model", "tiny", "--receipts", 16, "--epochs", 1),
            *("--output-dir", run_dir, "--job-name", "shown"),
        ],
        {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "RECEIPT_TRAINER_AWS_CLI": str(BIN / "aws")}
        | {ENV_DIR: str(own_session), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        | {"TEST_HOOK": "tests.cli.forked_worker", "TEST_COMMANDS": commands}
        | ELSEWHERE,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode()
    record = load_record(run_dir / RUN_FILE)
    assert record.status == "complete"
    assert record.dataset_counts["receipts"] == 16
    assert (run_dir / REPORT_FILE).is_file()
    assert str(run_dir / REPORT_FILE) in said.replace("\n", "")
    assert f"job {record.job_id} 'shown' is PENDING in jobs-cpu-normal-" in said
    assert "SUCCEEDED · attempt 1" in said
    assert "the worker ended: idle for 0 s" in said
    assert "instances table: i-local-1 ENDED: idle for 0 s" in said
    assert not own_session.exists()
    rows = re.search(r"SUCCEEDED, (\d+) metric rows, (\d+) log rows", said)
    assert rows is not None
    assert int(rows[1]) >= 4
    assert int(rows[2]) >= 3
    assert "its run.json says complete" in said
    shown = [line.split() for line in said.splitlines()]
    created = {tuple(words[-2:]) for words in shown if words[:1] in (["table"], ["bucket"], ["queue"])}
    assert "receipt-trainer-dev-receipts" in {physical for _, physical in created}
    [bucket] = [physical for logical, physical in created if logical.endswith("-artifacts")]
    assert f"s3://{bucket}/runs/shown/{record.job_id}/" in said
    assert any(physical.endswith(".fifo") for _, physical in created)
    recorded = " ".join(said.partition("only recorded")[2].split())
    assert "nothing of local mode uses it" in recorded
    assert "2 BucketPolicy" in recorded
    counts = re.search(r"(\d+) resources created, (\d+) recorded in", said)
    assert counts is not None
    assert 20 < int(counts[1]) < int(counts[2])


def test_the_demo_needs_the_stacks_program(call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without it is one line and exit code 2; a program that refuses its configuration says why."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for project, error in (
        ("name: other", "error: --program folder: no Pulumi.yaml named receipt-trainer; run it in a clone of the "),
        ("name: receipt-trainer", "error: pools.gpu.max_instances: 0 is below 1"),
    ):
        (tmp_path / "folder" / "Pulumi.yaml").write_text(project)
        refuse = 'import pulumi\nraise pulumi.RunError("pools.gpu.max_instances: 0 is below 1")\n'
        (tmp_path / "folder" / "__main__.py").write_text(refuse)
        said = call("demo", "--program", "folder")
        assert said.code == 2, said.err
        [line] = said.err.splitlines()
        assert line.startswith(error)


def test_the_demo_names_a_missing_file(call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data file that is not there is one line and exit code 2, and nothing is left."""
    monkeypatch.chdir(tmp_path)
    said = call("demo", "--data", "none.jsonl", "--output-dir", tmp_path / "run")
    assert (said.code, said.err) == (2, "error: none.jsonl: cannot read receipts: No such file or directory\n")
    assert not list(tmp_path.iterdir())


def test_a_demo_that_is_ended_leaves_nothing(call: Caller, tmp_path: Path, own_session: Path) -> None:
    """SIGTERM while its worker trains: other terminals saw its stack till then; its processes and files are gone."""
    log = tmp_path / "demo.log"
    words = ("demo", "--model", "tiny", "--receipts", "16", "--epochs", "1000", "--output-dir", tmp_path / "run")
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), ENV_DIR: str(own_session)}
    with Program("receipt-trainer").start(words, log, environ, inherits=False) as demo:
        wait_for(lambda: demo.poll() is not None or re.search("CLAIMED|RUNNING", log.read_text()))
        assert call("jobs", "--stack", "local", "--json").json[0]["status"] in ("CLAIMED", "RUNNING")
        wait_for(lambda: len(_descendants(demo.pid)) >= 3)  # server, worker, training
        children = _descendants(demo.pid)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(TIMEOUT_S) == 128 + signal.SIGTERM, log.read_text()
    wait_for(lambda: not any(map(is_running, children)))
    assert not own_session.exists()


def _descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have, by Linux's /proc."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]
