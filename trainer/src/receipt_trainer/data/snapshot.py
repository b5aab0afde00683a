"""Snapshots: encoded splits on disk as Arrow tables, with what they were made from.

The folder `data` has the layout of Hugging Face's `datasets`, which opens it by `load_from_disk`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.contract.run_record import SplitRecord
from receipt_trainer.data.encode import EncodedSplit, Examples, Words
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.prepare import Prepared
from receipt_trainer.errors import UserError
from receipt_trainer.files import replacing_folder, write_atomically

META: Final = "snapshot.json"
_TABLE: Final = "data-00000-of-00001.arrow"
VERSION: Final = 1
_WITH_UNKNOWN: Final = 2
"""Version of snapshots in which the label of a word may be IGNORED; one without such words is of version 1."""
_TABLES: Final = ("train", "validation", "train_receipts", "validation_receipts")
_ORIGIN = ("dataset_name", "eval_dataset", "max_words")
"""Fields that a snapshot brings along: where its receipts came from."""

USED_BY_TRAINING: Final = ("o_entity_ratio", "augment", "simulated_merchants", "simulated_values")
"""Fields that say what training does with encoded examples."""
_NOT_ENCODED = (*_ORIGIN, *USED_BY_TRAINING)
"""Fields that may differ between saving and loading."""

_ADDED = {"ocr_errors": 0.0}
"""What older snapshots were encoded with, whose configurations had no such field."""


def encoding_config(config: DataConfig) -> dict[str, Any]:
    """The part of a configuration that a snapshot's content depends on."""
    values = config.model_dump(mode="json")
    values["allowed_labels"] = sorted(set(values["allowed_labels"]))  # their order means nothing
    return {name: value for name, value in values.items() if name not in _NOT_ENCODED}


def save(prepared: Prepared, config: DataConfig, directory: Path) -> None:
    """Write a snapshot beside `directory`, then rename it into place.

    Raises:
        UserError: the directory exists already, or cannot be written.
    """
    if directory.exists():
        raise UserError(f"snapshot {directory} exists already; choose another --dataset-snapshot-save or remove it")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        _write(prepared, config, directory)
    except OSError as error:
        raise UserError(f"snapshot {directory}: cannot write: {error.strerror or error}") from None


def _write(prepared: Prepared, config: DataConfig, directory: Path) -> None:
    with replacing_folder(directory, replace=False) as beside:
        sides = {"train": prepared.train, "validation": prepared.validation}
        tables = {side: _examples_table(split.examples) for side, split in sides.items()}
        tables |= {f"{side}_receipts": _words_table(split.words) for side, split in sides.items()}
        for name, table in tables.items():
            _write_table(table, beside / "data" / name)
        write_atomically(beside / "data" / "dataset_dict.json", json.dumps({"splits": [*tables]}).encode())
        write_atomically(beside / META, json.dumps(_meta(prepared, config), indent=1).encode())


def _write_table(table: pa.Table, folder: Path) -> None:
    folder.mkdir(parents=True)
    with pa.OSFile(str(folder / _TABLE), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    state: dict[str, Any] = {"_data_files": [{"filename": _TABLE}], "_fingerprint": uuid4().hex[:16], "_split": None}
    state |= {"_format_columns": None, "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


def _read_table(folder: Path) -> pa.Table:
    """The table of a folder, mapped into memory; large ones were written in several files by version 0.1.0."""
    files = json.loads((folder / "state.json").read_bytes())["_data_files"]
    tables = [pa.ipc.open_stream(pa.memory_map(str(folder / file["filename"]))).read_all() for file in files]
    return pa.concat_tables(tables)


def _meta(prepared: Prepared, config: DataConfig) -> dict[str, Any]:
    space, sides = prepared.space, (prepared.train, prepared.validation)
    return {
        "version": VERSION if all(side.words.scored.all() for side in sides) else _WITH_UNKNOWN,
        "labels": list(space.labels),
        "merge_amounts": space.merge_amounts,
        "annotated": {source: sorted(names) for source, names in space.annotated.items()},
        "sets": [sorted(names) for names in prepared.sets],
        "config": encoding_config(config),
        "tokenizer": prepared.tokenizer_hash,
        "data": fingerprint(prepared),
        "split": prepared.split.model_dump(),
        "counts": prepared.counts,
        "origin": config.model_dump(mode="json", include=set(_ORIGIN)),
    }


def fingerprint(prepared: Prepared) -> str:
    """sha256 of everything that the model sees of the data, and that it is scored by."""
    digest = hashlib.sha256()
    for side in (prepared.train, prepared.validation):
        examples, words = side.examples, side.words
        seen = (examples.offsets, examples.input_ids, examples.bbox, examples.targets, examples.words)
        for array in (*seen, words.offsets, words.lines, words.gold):
            digest.update(np.ascontiguousarray(array).data)
        digest.update("\n".join(words.keys).encode())
    return digest.hexdigest()


def load(directory: Path, config: DataConfig, tokenizer_hash: str) -> Prepared:
    """Map a snapshot into memory.

    Raises:
        UserError: no snapshot there, or one of another configuration, label set or tokenizer: the difference is named.
    """
    try:
        meta = json.loads((directory / META).read_bytes())
        _require_same(directory, meta, config, tokenizer_hash)
        return _prepared(meta, {name: _read_table(directory / "data" / name) for name in _TABLES})
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{directory}: no readable snapshot: {reason or type(error).__name__}") from None


def _prepared(meta: Mapping[str, Any], data: Mapping[str, pa.Table]) -> Prepared:
    annotated = {source: frozenset(names) for source, names in meta["annotated"].items()}
    prepared = Prepared(
        space=LabelSpace(tuple(meta["labels"]), meta["merge_amounts"], annotated),
        sets=[frozenset(names) for names in meta["sets"]],
        train=EncodedSplit(_examples(data["train"]), _words(data["train_receipts"])),
        validation=EncodedSplit(_examples(data["validation"]), _words(data["validation_receipts"])),
        split=SplitRecord.model_validate(meta["split"]),
        tokenizer_hash=meta["tokenizer"],
        counts=meta["counts"],
        origin=DataConfig.model_validate(meta["origin"]).model_dump(include=set(_ORIGIN)),
    )
    for name, side in (("train", prepared.train), ("validation", prepared.validation)):
        found = (len(side.words), len(side.words.texts), len(side.examples), len(side.examples.input_ids))
        wanted = tuple(meta["counts"][name][part] for part in ("receipts", "words", "examples", "tokens"))
        if found != wanted:
            raise ValueError(f"of {name}'s receipts, words, examples, tokens {found} are there, not {wanted}")
    if fingerprint(prepared) != meta["data"]:
        raise ValueError("its data is not what was saved")
    return prepared


def _require_same(directory: Path, meta: Mapping[str, Any], config: DataConfig, tokenizer_hash: str) -> None:
    if meta.get("version") not in (VERSION, _WITH_UNKNOWN):
        raise UserError(
            f"snapshot {directory} does not fit: its version is {meta.get('version')}, "
            f"this program reads {VERSION} and {_WITH_UNKNOWN}"
        )
    differences = []
    stored, wanted = _ADDED | meta["config"], encoding_config(config)
    differences += [
        f"{name} is {json.dumps(stored.get(name))} in the snapshot and {json.dumps(wanted[name])} here"
        for name in wanted
        if stored.get(name) != wanted[name]
    ]
    unknown = sorted(set(config.allowed_labels) - set(meta["labels"]))
    if unknown:
        differences.append(f"its labels are {', '.join(meta['labels'])}, without {', '.join(unknown)}")
    if meta["tokenizer"] != tokenizer_hash:
        differences.append(
            f"its tokenizer is another (sha256 {meta['tokenizer'][:12]}, the model's {tokenizer_hash[:12]})"
        )
    if differences:
        raise UserError(f"snapshot {directory} does not fit: {'; '.join(differences)}")


def _lists(offsets: NDArray[np.int64], values: NDArray[Any], width: int = 1) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(offsets * width), pa.array(values.ravel()))


def _examples_table(examples: Examples) -> pa.Table:
    columns = {name: _lists(examples.offsets, getattr(examples, name)) for name in ("input_ids", "targets", "words")}
    return pa.table(
        columns
        | {
            "bbox": _lists(examples.offsets, examples.bbox, 4),
            "num_outside": pa.array(examples.num_outside),
            "num_entity": pa.array(examples.num_entity),
        }
    )


def _words_table(words: Words) -> pa.Table:
    return pa.table(
        {
            "key": words.keys,
            "name": words.names,
            "source": words.sources,
            "width": pa.array(words.sizes[:, 0]),
            "height": pa.array(words.sizes[:, 1]),
            "text": pa.LargeListArray.from_arrays(pa.array(words.offsets), pa.array(words.texts, pa.large_string())),
            "boxes": _lists(words.offsets, words.boxes, 4),
            "lines": _lists(words.offsets, words.lines),
            "gold": _lists(words.offsets, words.gold),
        }
    )


def _column(table: pa.Table, name: str) -> Any:
    return table.column(name).combine_chunks()


def _values(table: pa.Table, name: str) -> NDArray[Any]:
    column = _column(table, name)
    values = column.flatten() if pa.types.is_large_list(column.type) or pa.types.is_list(column.type) else column
    return np.from_dlpack(values)  # pyarrow's own to_numpy imports pandas where that is installed


def _offsets(table: pa.Table, name: str) -> NDArray[np.int64]:
    offsets = np.from_dlpack(_column(table, name).offsets).astype(np.int64)
    return offsets - offsets[0]  # type: ignore[no-any-return]


def _examples(table: pa.Table) -> Examples:
    return Examples(
        offsets=_offsets(table, "input_ids"),
        input_ids=_values(table, "input_ids"),
        bbox=_values(table, "bbox").reshape(-1, 4),
        targets=_values(table, "targets"),
        words=_values(table, "words"),
        num_outside=_values(table, "num_outside"),
        num_entity=_values(table, "num_entity"),
    )


def _words(table: pa.Table) -> Words:
    sizes = np.stack([_values(table, "width"), _values(table, "height")], axis=1)
    return Words(
        keys=_column(table, "key").to_pylist(),
        names=_column(table, "name").to_pylist(),
        sources=_column(table, "source").to_pylist(),
        sizes=sizes,
        offsets=_offsets(table, "lines"),
        texts=_Texts(_column(table, "text").flatten()),
        boxes=_values(table, "boxes").reshape(-1, 4),
        lines=_values(table, "lines"),
        gold=_values(table, "gold"),
    )


class _Texts(Sequence[str]):
    """A column of texts as a sequence: each is decoded only when it is looked at."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, index: Any) -> Any:
        picked = self._column[index]
        return picked.to_pylist() if isinstance(index, slice) else picked.as_py()
