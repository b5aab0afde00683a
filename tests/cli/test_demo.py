import re
import subprocess
import sys
from pathlib import Path

from receipt_trainer.contract.names import REPORT_FILE, RUN_FILE
from receipt_trainer.contract.run_record import RunRecord

BIN = Path(sys.executable).parent
ELSEWHERE = {"http_proxy": "http://127.0.0.1:9", "AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}


def test_the_demo_runs_the_whole_job(tmp_path: Path) -> None:
    """One command: the stack, receipts into its table, training from it, rows, artifacts in its bucket, a report.

    A proxy, a profile and an endpoint of the user's own lead none of it elsewhere.
    """
    run_dir = tmp_path / "run"
    command = [str(BIN / "receipt-trainer"), "demo", "--model", "tiny", "--receipts", "16", "--epochs", "1"]
    done = subprocess.run(
        [*command, "--output-dir", str(run_dir), "--job-name", "shown"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "RECEIPT_TRAINER_AWS_CLI": str(BIN / "aws")} | ELSEWHERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record = RunRecord.load(run_dir / RUN_FILE)
    assert record.status == "complete"
    assert record.dataset_counts["receipts"] == 16
    assert (run_dir / REPORT_FILE).is_file()
    assert str(run_dir / REPORT_FILE) in done.stdout.replace("\n", "")
    rows = re.search(r"jobs table: (\d+) metric rows, (\d+) log rows", done.stdout)
    assert rows is not None
    assert int(rows[1]) >= 4
    assert int(rows[2]) >= 3
    assert "its run.json says complete" in done.stdout
    shown = [line.split() for line in done.stdout.splitlines()]
    created = {tuple(words[-2:]) for words in shown if words[:1] in (["table"], ["bucket"], ["queue"])}
    assert "receipt-trainer-dev-receipts" in {physical for _, physical in created}
    [bucket] = [physical for logical, physical in created if logical.endswith("-artifacts")]
    assert f"s3://{bucket}/runs/shown/{record.job_id}/" in done.stdout
    assert any(physical.endswith(".fifo") for _, physical in created)
    recorded = " ".join(done.stdout.partition("only recorded")[2].split())
    assert "the emulator lacks Image Builder" in recorded
    assert "1 ImageRecipe" in recorded


def test_the_demo_needs_the_stacks_program(tmp_path: Path) -> None:
    """A folder without it is one line and exit code 2; a program that refuses its configuration says why."""
    command = [str(BIN / "receipt-trainer"), "demo", "--program", "folder"]
    (tmp_path / "folder").mkdir()
    for project, error in (
        ("name: other", "error: --program folder: no Pulumi.yaml named receipt-trainer; run it in a clone of the "),
        ("name: receipt-trainer", "error: pools.gpu.max_instances: 0 is below 1"),
    ):
        (tmp_path / "folder" / "Pulumi.yaml").write_text(project)
        refuse = 'import pulumi\nraise pulumi.RunError("pools.gpu.max_instances: 0 is below 1")\n'
        (tmp_path / "folder" / "__main__.py").write_text(refuse)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        [line] = done.stderr.splitlines()
        assert line.startswith(error)


def test_the_demo_names_a_missing_file(tmp_path: Path) -> None:
    """A data file that is not there is one line and exit code 2, and nothing is left."""
    command = [str(BIN / "receipt-trainer"), "demo", "--data", "none.jsonl", "--output-dir", str(tmp_path / "run")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: none.jsonl: cannot read receipts: No such file or directory"]
    assert not list(tmp_path.iterdir())
