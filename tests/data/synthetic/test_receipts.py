"""Synthetic receipts: the same everywhere, sound, labelled exactly, and adding up."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from babel.numbers import get_currency_precision
from click.testing import CliRunner

from receipt_trainer.cli.commands.receipts import generate_command
from receipt_trainer.contract.names import CORE_LABELS
from receipt_trainer.data.dedup import near_duplicate_groups
from receipt_trainer.data.problems import NOTED, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.clean import clean, sound_box
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.data.sources.record import parse_record, to_record
from receipt_trainer.data.synthetic import generate

FIRST_TWENTY = "2a135f6bb4ff3b202e353c39f46318cca33e817ce84cebe9cdb2423a9be9d7ea"


def digest(receipts: list[Receipt]) -> str:
    return hashlib.sha256("\n".join(json.dumps(to_record(item)) for item in receipts).encode()).hexdigest()


@pytest.fixture(scope="module")
def noisy() -> list[Receipt]:
    return list(generate(600, 11))


@pytest.fixture(scope="module")
def clear() -> list[Receipt]:
    return list(generate(600, 11, noise=False))


def test_the_same_seed_gives_the_same_receipts() -> None:
    """The first 20 receipts of seed 0 are these, letter by letter, on every machine with these versions of the data."""
    assert digest(list(generate(20, 0))) == FIRST_TWENTY


def test_varied_receipts_are_other_ones() -> None:
    """Of most of them a phrase is one word, as in no more than a sixth of the others; more countries; all labels."""
    plain, varied = (list(generate(100, 3, varied=varied)) for varied in (False, True))
    one_word = [sum(_is_glued(receipt) for receipt in receipts) for receipts in (plain, varied)]
    assert one_word[0] < 17 < 50 < one_word[1]
    assert not {receipt.key for receipt in plain} & {receipt.key for receipt in varied}
    currencies = [{receipt.extra["fields"]["currency"] for receipt in receipts} for receipts in (plain, varied)]
    assert "INR" in currencies[1] - currencies[0]
    assert {word.valid_label() for receipt in varied for word in receipt.words} == {None, *CORE_LABELS}
    assert digest(varied[:5]) == digest(list(generate(5, 3, varied=True)))


def _is_glued(receipt: Receipt) -> bool:
    """Whether its addresses stand in one word a line, and are longer than one."""
    lines: dict[int, list[str]] = defaultdict(list)
    for word in receipt.words:
        if word.valid_label() == "ADDRESS_LINE":
            lines[word.line].append(word.text)
    return bool(lines) and all(len(words) == 1 for words in lines.values()) and max(map(len, lines[min(lines)])) > 12


def test_no_setting_of_the_interpreter_changes_them() -> None:
    """Another PYTHONHASHSEED, in another process, gives the same receipts; and no package that draws is loaded."""
    program = (
        "import hashlib, json, sys; from receipt_trainer.data.synthetic import generate; "
        "from receipt_trainer.data.sources.record import to_record; "
        "print(hashlib.sha256('\\n'.join(json.dumps(to_record(r)) for r in generate(20, 0)).encode()).hexdigest()); "
        "print({'PIL', 'matplotlib', 'numpy', 'torch', 'boto3'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONHASHSEED": "123"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [FIRST_TWENTY, "set()"]


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
    """The rules for receipts from anywhere change nothing of them, and a line of JSON gives the very receipt back."""
    for item in request.getfixturevalue(receipts):
        problems = ProblemLog()
        assert all(sound_box(word.box, item.key, "", problems) == word.box for word in item.words)
        assert clean(item, problems) == item
        assert parse_record(json.loads(json.dumps(to_record(item))), "", problems) == item
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
        for above, below in pairwise(item.lines()):
            assert max(word.box[3] for word in above) <= min(word.box[1] for word in below)


def test_the_printed_amounts_add_up(clear: list[Receipt]) -> None:
    """What the labels of a clearly read receipt say adds up to its total, to the last minor unit."""
    for item in clear:
        fields = item.extra["fields"]
        said = {key: Decimal(str(value)) for key, value in fields.items() if not isinstance(value, str | bool)}
        digits = get_currency_precision(fields["currency"])
        amounts: dict[str | None, list[Decimal]] = defaultdict(list)
        for word in item.words:
            number = "".join(char for char in word.text if char.isdigit())
            if number:
                amounts[word.valid_label()].append(Decimal(number).scaleb(-digits))
        included = said["tax"] if fields["tax_included"] else Decimal(0)
        added = said["tax"] - included
        whole = sum(amounts["LINE_TOTAL"]) - said["item_discount"]
        assert whole in (said["subtotal"], said["subtotal"] + included)
        assert set(amounts["SUBTOTAL"]) <= {said["subtotal"]}
        assert sum(amounts["TAX"]) in (0, said["tax"])
        assert set(amounts["GRAND_TOTAL"]) == {said["total"]}
        assert said["total"] == whole - said["discount"] + said["service"] + said["rounding"] + added


def test_habits_of_all_kinds_occur(clear: list[Receipt]) -> None:
    """Shops of all kinds, eight currencies, service, rounding, discounts, taxes in the prices and on top of them."""
    fields = [item.extra["fields"] for item in clear]
    assert {said["kind"] for said in fields} == {"grocery", "restaurant", "pharmacy", "petrol", "hardware"}
    assert {said["currency"] for said in fields} == {"USD", "CAD", "GBP", "AUD", "SGD", "MYR", "IDR", "EUR"}
    for key in ("item_discount", "discount", "service", "rounding", "tax"):
        assert 0.01 < sum(said[key] != 0 for said in fields) / len(fields) < 0.95, key
    assert 0.3 < sum(said["tax_included"] for said in fields) / len(fields) < 0.8


def test_memorising_is_not_enough(clear: list[Receipt]) -> None:
    """Hardly two shops of 600 are called the same, few products are, and no two receipts are near duplicates."""
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
    assert 0.02 < unread / sum(len(item.words) for item in noisy) < 0.2


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
