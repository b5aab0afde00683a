"""run.json: read leniently, written whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from receipt_trainer.contract.run_record import (
    EpochMetrics,
    LayoutLMRecord,
    PaddleOcrVlRecord,
    load_record,
    read_record,
)
from receipt_trainer.files import write_atomically

WRITER = """
import sys
from pathlib import Path
from receipt_trainer.contract.run_record import LayoutLMRecord, load_record
number = 0
while True:
    number += 1
    record = LayoutLMRecord(job_name="j", job_id=str(number), model="m", training_config={}, data_config={},
                       label_list=[f"B-{number}"] * 20_000)
    record.write(Path(sys.argv[1]))
    if number == 1:
        print("written", flush=True)
"""


def record(**changes: object) -> LayoutLMRecord:
    base = {"job_name": "j", "job_id": "1", "model": "m", "training_config": {}, "data_config": {}, "label_list": ["O"]}
    return LayoutLMRecord.model_validate(base | changes)


@given(
    text=st.text(st.characters(exclude_categories=["Cs"])),
    number=st.floats(allow_nan=False, allow_infinity=False),
    status=st.sampled_from(["running", "complete", "failed"]),
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, text: str, number: float, status: str) -> None:
    """What was written is read back equal."""
    path = tmp_path_factory.getbasetemp() / "round" / "run.json"
    row = EpochMetrics(epoch=1, step=2, precision=0.5, recall=0.5, f1=0.5, elapsed_s=number)
    written = record(status=status, error=text, cost={text: number}, epoch_metrics=[row])
    written.write(path)
    assert load_record(path) == written
    assert [item.name for item in path.parent.iterdir()] == ["run.json"]


OLD = Path(__file__).parents[1] / "fixtures" / "0_1_0" / "runs"
"""What `layoutlm-cli train` and `vl train` of version 0.1.0 wrote of small runs."""
REQUIRED_BY_0_1_0 = {"job_name", "job_id", "model", "training_config", "data_config", "label_list"}


@pytest.mark.parametrize("name", ["layoutlm", "paddleocr_vl"])
def test_a_record_of_0_1_0_is_read(name: str, tmp_path: Path) -> None:
    """Typed by its family, with every value that the family has; written again it has what version 0.1.0 asks for."""
    values = json.loads((OLD / f"{name}.json").read_text())
    found = load_record(OLD / f"{name}.json")
    assert isinstance(found, LayoutLMRecord) == (name == "layoutlm")
    found.write(tmp_path / "run.json")
    written = json.loads((tmp_path / "run.json").read_text())
    assert written == {key: values[key] for key in written}
    assert written.keys() >= REQUIRED_BY_0_1_0
    unsaid = {key: value for key, value in values.items() if key not in written}
    assert not any(unsaid.values()), "only what the other family has, and that was empty, is left out"


def test_an_old_record_of_a_run_that_has_only_begun_is_read() -> None:
    """Version 0.1.0 wrote {} for a best evaluation and for scores that there were not, and null for a NaN."""
    row = {"epoch": 1.0, "step": 2, "eval_loss": None, "eval_accuracy": 0.0, "elapsed_s": 1.0}
    vl = {"evaluations": [row], "best": {}, "eval_loss": None, "scores": {}, "left_out": []}
    base = {"job_name": "j", "job_id": "1", "model": "m", "training_config": {}, "data_config": {}, "label_list": []}
    found = read_record(json.dumps(base | {"family": "paddleocr-vl", "vl": vl}))
    assert isinstance(found, PaddleOcrVlRecord)
    assert (found.vl.best, found.vl.scores, found.vl.evaluations[0].eval_loss) == (None, None, None)
    assert set(json.loads(found.model_dump_json())["vl"]) == {"evaluations", "left_out"}


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    """A record of a newer version is read: what it adds is ignored, at every level."""
    values = json.loads(record(best={"epoch": 1, "step": 2, "f1": 0.5}).model_dump_json())
    values |= {"carbon_kg": 1}
    values["best"]["recall"] = 0.5
    path = tmp_path / "run.json"
    path.write_text(json.dumps(values))
    assert load_record(path) == record(best={"epoch": 1, "step": 2, "f1": 0.5})


@pytest.mark.parametrize("content", ["", "{", "[]", '{"job_name": "j"}', "null"])
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    """Half a record, or none, is a ValidationError, not a record with holes."""
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(ValidationError):
        load_record(path)


def test_a_failed_write_leaves_the_old_record(tmp_path: Path) -> None:
    """Where the new record cannot take its place the old one stays, and nothing lies beside it."""
    target = tmp_path / "run.json"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(OSError):
        write_atomically(target, b"new")
    assert [item.name for item in tmp_path.iterdir()] == ["run.json"]
    assert (target / "old").exists()


def test_readers_see_whole_records_while_writers_are_killed(tmp_path: Path) -> None:
    """A reader in a loop never sees a part of a record, however often the writing process is killed by SIGKILL."""
    path = tmp_path / "run.json"
    random = Random(0)
    for _ in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"written\n"
            seen, reads = set[str](), random.randint(3, 6)
            while reads > 0 or len(seen) < 2:
                found = load_record(path)
                reads -= 1
                seen.add(found.job_id)
                assert found.label_list == [f"B-{found.job_id}"] * 20_000
        finally:
            os.kill(writer.pid, signal.SIGKILL)
            writer.communicate()
        assert len(load_record(path).label_list) == 20_000
