"""Typical mistakes at a terminal: what is typed, what is said, and the exit code."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Final

import pytest

from receipt_trainer.cli import layoutlm as layoutlm_cli
from receipt_trainer.cli import receipt_trainer as receipt_trainer_cli
from receipt_trainer.contract import names
from tests.cli.jobs import Caller

WORD = {"text": "x", "box": [1, 1, 2, 2], "line": 0, "label": "TOTAL"}
RECEIPT = {"id": "a", "width": 9, "height": 9, "words": [WORD]}
FILES: Final[dict[str, bytes]] = {
    "ok.jsonl": "".join(json.dumps(RECEIPT | {"id": name}) + "\n" for name in "abc").encode(),
    "bare.jsonl": json.dumps(RECEIPT | {"words": [WORD | {"label": None}]}).encode(),
    "empty.jsonl": b"",
    "hurt.jsonl.gz": gzip.compress(b"{}" * 99, mtime=0)[:12] + b"\xff" * 40,
    "photo.jpg": b"\xff\xd8\xff\xe0" + bytes(60),
    "typo.yaml": b"job_name: a\ntraining_config:\n  num_epochs: 1\n  epoch: 2\n",
    "type.yaml": b"job_name: a\ntraining_config:\n  num_epochs: many\n",
    "broken.yaml": b"job_name: [a\n",
    "list.yaml": b"- a\n",
    "broken.json": b'{"region": ',
    "other.json": b'{"region": "us-east-1"}',
    "list.json": b"[]",
    "not.txt": b"\xff\xfe\x00\x01",
    "run/run.json": b"{}",
    "folder/note.txt": b"nothing of ours",
}
TRAIN = "layoutlm-cli train --model tiny --output-dir out --dataset"
MISTAKES: Final[dict[str, str]] = {
    # no such command or option
    "receipt-trainer job": "No such command 'job'. Did you mean 'receipt-trainer jobs'?",
    "receipt-trainer submit": "Did you mean 'receipt-trainer submit-job'?",
    "receipt-trainer train": "Did you mean 'layoutlm-cli train' or 'receipt-trainer vl train'?",
    "receipt-trainer status": "Did you mean 'receipt-trainer job-status' or 'receipt-trainer sweep-status'?",
    "receipt-trainer import": "Did you mean 'receipt-trainer receipts import'",
    "receipt-trainer receipts imprt": "Did you mean 'receipt-trainer receipts import'?",
    "receipt-trainer vl tran": "Did you mean 'receipt-trainer vl train'?",
    "receipt-trainer vl experiments runs": "Did you mean 'receipt-trainer vl experiments run'?",
    "receipt-trainer serve promot": "Did you mean 'receipt-trainer serve promote'?",
    "receipt-trainer sweep status": "Did you mean 'receipt-trainer sweep-status'?",
    "layoutlm-cli jobs": "Did you mean 'receipt-trainer jobs'?",
    "receipt-trainer nonsense": "No such command 'nonsense'. (see receipt-trainer --help)",
    "layoutlm-cli train --learning-rte 1": "Did you mean '--learning-rate'?",
    # no stack, or a wrong one
    "receipt-trainer jobs": "give --stack NAME or --outputs FILE (or --jobs-table, JOBS_TABLE_NAME)",
    "receipt-trainer job-status": "Missing argument 'JOB'",
    "receipt-trainer watch j": "give --stack NAME or --outputs FILE",
    "receipt-trainer receipts stats": "give --stack NAME or --outputs FILE",
    "receipt-trainer instances": "give --stack NAME or --outputs FILE",
    "receipt-trainer fleet": "--stack NAME is needed (or --outputs FILE)",
    "receipt-trainer jobs --outputs no.json": "--outputs no.json: No such file or directory; make it with: pulumi",
    "receipt-trainer jobs --outputs folder": "--outputs folder: Is a directory",
    "receipt-trainer jobs --outputs broken.json": "--outputs broken.json: ",
    "receipt-trainer jobs --outputs list.json": "--outputs list.json: ",
    "receipt-trainer jobs --outputs other.json": "--outputs other.json: ",
    "receipt-trainer jobs --jobs-table t --status DONE": "'DONE' is not one of",
    "receipt-trainer jobs --jobs-table t --since yesterday": "must be an age such as 90m, 12h or 7d",
    "receipt-trainer jobs --jobs-table t --limit 0": "--limit",
    "receipt-trainer watch j --jobs-table t --interval nan": "--interval: nan is not a finite number",
    "receipt-trainer fleet --start --stop": "--start, --stop and --status are three things",
    "receipt-trainer fleet --now": "--now goes with --stop",
    "receipt-trainer fleet --pool huge": "'huge' is not one of",
    # files: not there, of another kind, damaged
    f"{TRAIN} no.jsonl": "no.jsonl: cannot read receipts: No such file or directory",
    f"{TRAIN} no/such/folder": "no/such/folder: cannot read receipts: No such file or directory",
    f"{TRAIN} mine": "data set 'mine' is not known: use 'dynamodb' or a file or folder that exists",
    f"{TRAIN} dynamodb": "no receipts table is named: use --dynamo-table NAME, or --dataset FILE",
    f"{TRAIN} dynamodb --dynamo-table t": "no AWS region; set AWS_REGION",
    f"{TRAIN} ok.jsonl --eval-dataset no.jsonl": "no.jsonl: cannot read receipts",
    f"{TRAIN} ok.jsonl --split-file no.json": "no.json: cannot read the split file: No such file",
    f"{TRAIN} ok.jsonl --split-file not.txt": "not.txt: cannot read the split file: not a text file",
    f"{TRAIN} ok.jsonl --split-file broken.json": "broken.json: not a run.json",
    f"{TRAIN} ok.jsonl --split-file run/run.json": "this run.json has no split.validation_keys",
    "layoutlm-cli train --dataset-snapshot-load no": "--dataset-snapshot-load no: no such folder",
    "layoutlm-cli train --dataset ok.jsonl --dataset-snapshot-load folder": "leave out --dataset",
    "layoutlm-cli train --dataset ok.jsonl --model ./nomodel": "model './nomodel': no such directory",
    "layoutlm-cli train --dataset ok.jsonl --model ./folder": "config.json is missing",
    "layoutlm-cli label-counts --dataset no.jsonl": "no.jsonl: cannot read receipts",
    "layoutlm-cli label-counts --dataset ok.jsonl --ratio nan": "--ratio",
    "layoutlm-cli evaluate --model nowhere --dataset ok.jsonl": "nowhere: no trained model there (no such folder)",
    "layoutlm-cli evaluate --model folder --dataset ok.jsonl": "folder: no trained model there; give a run's folder",
    "layoutlm-cli predict --model ok.jsonl": "ok.jsonl: no trained model there",
    "layoutlm-cli spot-check --model nowhere": "nowhere: no trained model there",
    "layoutlm-cli export nowhere": "nowhere: no trained model there",
    "layoutlm-cli report nowhere": "nowhere/run.json: No such file or directory; give the folder of a run",
    "layoutlm-cli report run": "run/run.json: not a run record",
    "receipt-trainer read photo.jpg": "which model? give --model RUN",
    "receipt-trainer read no.jpg --model run": "no.jpg: no such file or folder",
    "receipt-trainer read ok.jsonl --model nowhere": "nowhere: no model package there",
    "receipt-trainer read ok.jsonl --model run --csv --table": "--csv and --table exclude each other",
    "receipt-trainer read ok.jsonl --model run --items": "--items needs --csv",
    "receipt-trainer serve --model nowhere": "nowhere: no model package there",
    "receipt-trainer receipts ocr no.jpg -o new.jsonl": "no.jpg: no such file or folder",
    "receipt-trainer receipts import no.jsonl --dynamo-table t --dry-run": "no.jsonl: cannot read receipts",
    "receipt-trainer receipts import photo.jpg --dynamo-table t --dry-run": "photo.jpg is an image",
    "receipt-trainer receipts import hurt.jsonl.gz --dynamo-table t --dry-run": "hurt.jsonl.gz: cannot be read",
    "receipt-trainer receipts import folder --dynamo-table t --dry-run": "folder",
    "receipt-trainer receipts generate --count 0 -o new.jsonl": "--count",
    # job files and settings
    "receipt-trainer submit-job": "Missing option '--config'",
    "receipt-trainer submit-job --config no.yaml --dry-run": "no.yaml: No such file or directory",
    "receipt-trainer submit-job --config folder --dry-run": "folder: Is a directory",
    "receipt-trainer submit-job --config typo.yaml --dry-run": "typo.yaml:4",
    "receipt-trainer submit-job --config type.yaml --dry-run": "type.yaml:3",
    "receipt-trainer submit-job --config broken.yaml --dry-run": "broken.yaml",
    "receipt-trainer submit-job --config list.yaml --dry-run": "list.yaml",
    "receipt-trainer submit-job --config not.txt --dry-run": "not.txt",
    "layoutlm-cli train --config no.yaml": "no.yaml: No such file or directory",
    f"{TRAIN} ok.jsonl --set epochz=3": "--set epochz: unknown field (known: ",
    f"{TRAIN} ok.jsonl --set num_epochs=x": "num_epochs",
    f"{TRAIN} ok.jsonl --set num_epochs": "--set num_epochs: expected KEY=VALUE",
    f"{TRAIN} ok.jsonl --lr 30": "learning_rate",
    f"{TRAIN} ok.jsonl --learning-rate -1": "learning_rate",
    f"{TRAIN} ok.jsonl --epochs 0": "num_epochs",
    f"{TRAIN} ok.jsonl --batch-size 0": "batch_size",
    f"{TRAIN} ok.jsonl --batch-size many": "'many' is not a valid integer",
    f"{TRAIN} ok.jsonl --max-samples -1": "max_samples",
    f"{TRAIN} ok.jsonl --job-name ../x": "--job-name '../x': use 1 to 64 of",
    f"{TRAIN} ok.jsonl --device gpu": "'gpu' is not one of 'auto', 'cpu', 'cuda'",
    # documents
    "receipt-trainer vl train --config no.yaml": "no.yaml: No such file or directory",
    "receipt-trainer vl validate-dataset --input no": "no: cannot be read: No such file or directory",
    "receipt-trainer vl evaluate --output o.json": "give --model-path and --test-dir, or --predictions",
    "receipt-trainer vl experiments run no": "Directory 'no' does not exist",
    "receipt-trainer vl import no.jsonl --images folder --output-dir new": "no.jsonl: cannot read receipts",
    "receipt-trainer sweep": "the jobs table is not known; set JOBS_TABLE_NAME, or give --jobs-table or --stack",
    "receipt-trainer sweep --config typo.yaml --dry-run": "typo.yaml:4",
}
"""What is typed, and a part of the one line that is said; the exit code of all of them is 2."""


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line(
    typed: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It ends with exit code 2 and one line on stderr that names it, prints nothing else, and leaves no file."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    for name in (names.ENV_RECEIPTS_TABLE, names.ENV_JOBS_TABLE, names.ENV_INSTANCES_TABLE, names.ENV_ARTIFACTS_BUCKET):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    before = sorted(tmp_path.rglob("*"))
    program, *words = typed.split()
    group = layoutlm_cli.group if program == "layoutlm-cli" else receipt_trainer_cli.group
    said = Caller(capfd, group)(*words)
    assert (said.code, said.out) == (2, ""), said
    assert said.err.startswith("error: "), said.err
    assert said.err.count("\n") == 1, said.err
    assert MISTAKES[typed] in said.err
    assert sorted(tmp_path.rglob("*")) == before
