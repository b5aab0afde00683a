"""The receipt-level split into training and validation, frozen by hashes of the receipts' keys."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from receipt_trainer.contract.run_record import SplitRecord
from receipt_trainer.data.dedup import near_duplicate_groups
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.errors import UserError

_HASH_RANGE = 1 << 256
_SHOWN = 5


@dataclass(frozen=True)
class Split:
    """Two sides of receipts, each in the order of the keys, whatever order the source delivered.

    Attributes:
        train: receipts to learn from.
        validation: receipts held out.
        seed: seed of the hashed split; 0 where keys or stored names decided.
    """

    train: list[Receipt]
    validation: list[Receipt]
    seed: int = 0

    def record(self) -> SplitRecord:
        """The entry of run.json: equal hashes mean the same receipts on the same sides."""
        sides = [sorted(receipt.key for receipt in side) for side in (self.train, self.validation)]
        return SplitRecord(
            seed=self.seed,
            hash=hashlib.sha256(json.dumps(sides).encode()).hexdigest(),
            validation_keys=sides[1],
            train_count=len(self.train),
            validation_count=len(self.validation),
        )


def split_receipts(receipts: Sequence[Receipt], *, fraction: float, seed: int) -> Split:
    """Hold out about `fraction` (0..1, both ends excluded) of the receipts.

    A receipt is held out if sha256(f"{seed}:{key}") falls into the lowest `fraction` of its range, so adding receipts
    later moves none that stands alone. Near duplicates (`near_duplicate_groups`) go where one of them goes: the one
    whose sha256(f"group:{key}") is smallest. That hash has nothing to do with the side, so large groups favour none,
    and a receipt that joins a group of n moves it only if it takes the lead (1 in n + 1) and lies on the other side;
    a receipt that is like two groups makes them one.

    With two groups or more no side is empty: the group nearest to the border by its leader's hash is moved over, and
    stays there until other receipts fill that side. A single group is all training.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, not {fraction!r}")
    groups = [[receipts[index] for index in group] for group in near_duplicate_groups(receipts)]
    places = [_place(min((receipt.key for receipt in group), key=_leader_rank), seed) for group in groups]
    held_out = {number for number, place in enumerate(places) if place < int(fraction * _HASH_RANGE)}
    order = sorted(range(len(groups)), key=lambda number: places[number])
    if len(groups) < 2:
        held_out = set()
    elif not held_out:
        held_out = {order[0]}
    elif len(held_out) == len(groups):
        held_out.remove(order[-1])
    train = [receipt for number, group in enumerate(groups) if number not in held_out for receipt in group]
    validation = [receipt for number in held_out for receipt in groups[number]]
    return Split(_ordered(train), _ordered(validation), seed)


def split_by_keys(receipts: Sequence[Receipt], keys: Iterable[str], where: str = "split file") -> Split:
    """Hold out the receipts with these keys or names; a name that several receipts bear holds out all of them.

    Raises:
        UserError: a key that no receipt has, or a side that stays empty. `where` names the origin of the keys.
    """
    wanted = set(keys)
    held_out = [receipt for receipt in receipts if receipt.key in wanted or receipt.name in wanted]
    known = {receipt.key for receipt in held_out} | {receipt.name for receipt in held_out}
    unknown = sorted(wanted - known)
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise UserError(f"{where}: no receipt is called {', '.join(unknown[:_SHOWN])}{more}; use the data of that run")
    if not held_out:
        raise UserError(f"{where}: it names no receipt to hold out")
    chosen = {receipt.key for receipt in held_out}
    train = [receipt for receipt in receipts if receipt.key not in chosen]
    if not train:
        raise UserError(f"{where}: it holds out all {len(receipts)} receipts, none is left to train on")
    return Split(_ordered(train), _ordered(receipt for receipt in receipts if receipt.key in chosen))


def read_split_file(path: Path) -> list[str]:
    """Keys or names of the receipts to hold out: `split.validation_keys` of a run.json, or one a line of a text file.

    Raises:
        UserError: no such file, not text, or a JSON file without these keys.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(f"{path}: cannot read the split file: {reason}") from None
    if not text.lstrip().startswith("{"):
        return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    try:
        split = json.loads(text).get("split")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a run.json: {error}") from None
    keys = split.get("validation_keys") if isinstance(split, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise UserError(f"{path}: this run.json has no split.validation_keys; give one of a run that held receipts out")
    return keys


def split_by_stored(receipts: Sequence[Receipt], train: str, eval: str) -> Split:
    """Take the receipts stored under split `train` to learn from and those under `eval` to validate on.

    Receipts of other splits are left out.

    Raises:
        UserError: the two are one, or no receipt is stored under one of them; it names the stored splits.
    """
    if train == eval:
        raise UserError(f"train split and eval split are both '{train}': scores on training receipts mean nothing")
    stored = Counter(receipt.split for receipt in receipts)
    for name in (train, eval):
        if not stored[name]:
            found = ", ".join(f"{split or '(none)'} ({count})" for split, count in sorted(stored.items()) if count)
            raise UserError(
                f"no receipt is stored under split '{name}'; stored splits: {found or 'none'}; "
                "leave train_split and eval_split out for a split by hash"
            )
    sides = [_ordered(receipt for receipt in receipts if receipt.split == name) for name in (train, eval)]
    return Split(sides[0], sides[1])


def limit(receipts: Sequence[Receipt], max_samples: int | None) -> list[Receipt]:
    """At most `max_samples` receipts (None: all) in the given order, chosen by hash of their keys.

    The receipts of a lower limit are among those of a higher one.
    """
    if max_samples is None or len(receipts) <= max_samples:
        return list(receipts)
    ranked = sorted(range(len(receipts)), key=lambda index: _sha256(f"limit:{receipts[index].key}"))
    return [receipts[index] for index in sorted(ranked[:max_samples])]


def _ordered(receipts: Iterable[Receipt]) -> list[Receipt]:
    return sorted(receipts, key=lambda receipt: receipt.key)


def _place(key: str, seed: int) -> int:
    return int.from_bytes(_sha256(f"{seed}:{key}"))


def _leader_rank(key: str) -> bytes:
    return _sha256(f"group:{key}")


def _sha256(text: str) -> bytes:
    # A key from a broken source may hold half of a surrogate pair.
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
