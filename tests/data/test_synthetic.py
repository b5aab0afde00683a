"""Synthetic receipts: the same everywhere, sound, labelled exactly, and adding up."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.cli.commands.receipts import generate_command
from receipt_trainer.contract.names import CORE_LABELS
from receipt_trainer.data.dedup import near_duplicate_groups
from receipt_trainer.data.problems import NOTED, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.clean import clean, sound_box
from receipt_trainer.data.sources.jsonl import parse_record, read_jsonl, to_record
from receipt_trainer.data.synthetic import generate
from receipt_trainer.data.synthetic.purchase import draw_purchase, share
from receipt_trainer.data.synthetic.text import KINDS

FIRST_TWENTY = "18b9874f31fae7ec008cbe70b24ce75bd84860e81c64c5b776bf8310ea40ba16"


def digest(receipts: list[Receipt]) -> str:
    return hashlib.sha256("\n".join(json.dumps(to_record(item)) for item in receipts).encode()).hexdigest()


@pytest.fixture(scope="module")
def noisy() -> list[Receipt]:
    return list(generate(600, 11))


@pytest.fixture(scope="module")
def clear() -> list[Receipt]:
    return list(generate(600, 11, noise=False))


def test_the_same_seed_gives_the_same_receipts() -> None:
    """The first 20 receipts of seed 0 are these, letter by letter, on every machine."""
    assert digest(list(generate(20, 0))) == FIRST_TWENTY


def test_no_setting_of_the_interpreter_changes_them() -> None:
    """Another PYTHONHASHSEED, in another process, gives the same receipts."""
    program = (
        "import hashlib, json; from receipt_trainer.data.synthetic import generate; "
        "from receipt_trainer.data.sources.jsonl import to_record; "
        "print(hashlib.sha256('\\n'.join(json.dumps(to_record(r)) for r in generate(20, 0)).encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONHASHSEED": "123"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == FIRST_TWENTY


def test_a_receipt_does_not_depend_on_the_count() -> None:
    """More receipts begin with the same ones; another seed gives others."""
    assert list(generate(30, 5))[:10] == list(generate(10, 5))
    assert not {item.key for item in generate(10, 5)} & {item.key for item in generate(10, 6)}


@pytest.mark.parametrize("receipts", ["noisy", "clear"])
def test_every_label_occurs(receipts: str, request: pytest.FixtureRequest) -> None:
    """All twelve core labels occur, none of them rarely, no other does, and background is everywhere."""
    found = request.getfixturevalue(receipts)
    counts = Counter(label for item in found for label in {word.valid_label() for word in item.words})
    assert set(counts) == {None, *CORE_LABELS}
    assert min(counts.values()) > 0.3 * len(found)


@pytest.mark.parametrize("receipts", ["noisy", "clear"])
def test_receipts_are_sound(receipts: str, request: pytest.FixtureRequest) -> None:
    """The rules for receipts from anywhere drop nothing of them and change nothing."""
    for item in request.getfixturevalue(receipts):
        problems = ProblemLog()
        assert all(sound_box(word.box, item.key, "", problems) == word.box for word in item.words)
        assert clean(item, problems) == item
        assert set(problems.counts) <= NOTED


@pytest.mark.parametrize("receipts", ["noisy", "clear"])
def test_words_stand_in_reading_order(receipts: str, request: pytest.FixtureRequest) -> None:
    """Lines count from 0 without a hole, words go from left to right and no two of a line overlap."""
    for item in request.getfixturevalue(receipts):
        lines = list(item.lines())
        assert [line[0].line for line in lines] == list(range(len(lines)))
        for line in lines:
            assert all(one.box[2] <= other.box[0] for one, other in pairwise(line))


def test_lines_do_not_run_into_each_other(clear: list[Receipt]) -> None:
    """Without tilt each line ends above the next one."""
    for item in clear:
        lines = list(item.lines())
        for above, below in pairwise(lines):
            assert max(word.box[3] for word in above) <= min(word.box[1] for word in below)


@given(st.integers(0, 10**9), st.sampled_from(KINDS))
@settings(deadline=None)
def test_purchases_add_up(seed: int, kind: str) -> None:
    """Quantity times price is the item's total; items, discounts, service, taxes and rounding make the total."""
    purchase = draw_purchase(Random(seed), kind)
    for item in purchase.items:
        assert item.total == max(1, share(item.unit_price, item.quantity, 1000))
        assert 0 <= item.discount < item.total
    assert purchase.subtotal == sum(item.total - item.discount for item in purchase.items)
    added = 0 if purchase.tax_included else purchase.tax
    assert purchase.total == purchase.subtotal - purchase.discount + purchase.service + added + purchase.rounding
    assert purchase.total % purchase.locale.step == 0
    assert purchase.paid >= purchase.total > 0
    for tax in purchase.taxes:
        assert abs(tax.amount - tax.net * tax.rate / 10_000) <= 1


def test_the_printed_amounts_add_up(clear: list[Receipt]) -> None:
    """What the labels of a clearly read receipt say adds up to its total, to the last minor unit."""
    for item in clear:
        amounts: dict[str | None, list[int]] = defaultdict(list)
        for word in item.words:
            digits = "".join(char for char in word.text if char.isdigit())
            if digits:
                amounts[word.valid_label()].append(int(digits))
        said = item.extra["fields"]
        assert sum(amounts["LINE_TOTAL"]) - said["item_discount"] == said["subtotal"]
        assert set(amounts["SUBTOTAL"]) <= {said["subtotal"]}
        assert sum(amounts["TAX"]) in (0, said["tax"])
        assert set(amounts["GRAND_TOTAL"]) == {said["total"]}
        assert said["total"] == (
            said["subtotal"] - said["discount"] + said["service"] + said["rounding"]
            + (0 if said["tax_included"] else said["tax"])
        )  # fmt: skip


def test_memorising_is_not_enough(clear: list[Receipt]) -> None:
    """No two shops of 600 are called the same, few products are, and no two receipts are near duplicates."""
    names = Counter(
        " ".join(word.text for word in item.words if word.valid_label() == "MERCHANT_NAME").upper() for item in clear
    )
    products = Counter(
        text
        for item in clear
        for line in item.lines()
        if (text := " ".join(word.text for word in line if word.valid_label() == "PRODUCT_NAME").upper())
    )
    assert len(names) > 0.99 * len(clear)
    assert len(products) > 0.6 * products.total()
    assert len(near_duplicate_groups(clear)) == len(clear)


def test_the_total_also_stands_where_it_is_no_total(clear: list[Receipt]) -> None:
    """In a fair share of receipts a background word has the amount of the total: the amount alone decides nothing."""
    hard = 0
    for item in clear:
        totals = {word.text for word in item.words if word.valid_label() == "GRAND_TOTAL"}
        hard += any(word.text in totals for word in item.words if word.valid_label() is None and word.text != "$")
    assert hard > 0.3 * len(clear)


def test_noise_changes_words_but_no_truth(noisy: list[Receipt], clear: list[Receipt]) -> None:
    """Noise misreads and glues words; what the receipt says stays the same."""
    assert [item.extra for item in noisy] == [item.extra for item in clear]
    texts = Counter(word.text for item in clear for word in item.words)
    unread = sum(1 for item in noisy for word in item.words if word.text not in texts)
    total = sum(len(item.words) for item in noisy)
    assert 0.02 < unread / total < 0.2


def test_round_trip_through_json(noisy: list[Receipt]) -> None:
    """A line of JSON gives the very receipt back, boxes included."""
    for item in noisy:
        problems = ProblemLog()
        assert parse_record(json.loads(json.dumps(to_record(item))), "", problems) == item
        assert set(problems.counts) <= NOTED


@pytest.mark.parametrize("name", ["receipts.jsonl", "new/receipts.jsonl.gz"])
def test_command_writes_a_file(tmp_path: Path, name: str) -> None:
    """`receipts generate` writes what `generate` yields and leaves nothing else behind."""
    path = tmp_path / name
    result = CliRunner().invoke(generate_command, ["--count", "25", "--seed", "3", "-o", str(path)])
    assert result.exit_code == 0, result.output
    assert list(read_jsonl(path, ProblemLog())) == list(generate(25, 3))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_command_names_what_it_cannot_write(tmp_path: Path) -> None:
    """A folder that is a file: an error with the path, and no half-written file."""
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(generate_command, ["-o", str(tmp_path / "file" / "out.jsonl")])
    assert "cannot write receipts" in str(result.exception)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
