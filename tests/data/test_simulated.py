from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.data.encode import EncodedSplit, encode
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.data.simulated import SimulatedReceipts
from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve

SPACE = LabelSpace(("MERCHANT_NAME", "ADDRESS_LINE", "DATE", "GRAND_TOTAL"))
TOKENIZER = load_tokenizer(resolve("tiny"))
Line = list[tuple[str, str]]


def split_of(receipts: list[list[Line]], **config: object) -> EncodedSplit:
    """Receipts of lines of (text, label)."""
    made = [
        Receipt(
            f"image-{number}",
            1,
            tuple(
                Word(text, (0.1, 0.1, 0.2, 0.2), row, (WordLabel(label),) if label else ())
                for row, line in enumerate(lines)
                for text, label in line
            ),
        )
        for number, lines in enumerate(receipts)
    ]
    return encode(made, SPACE, TOKENIZER, DataConfig.model_validate(config))


def seen(simulated: SimulatedReceipts, split: EncodedSplit, numbers: list[int], epoch: int) -> list[list[int]]:
    """The sub-tokens of some examples, as one row of them has them."""
    examples = split.examples
    rows = [examples.input_ids[examples.offsets[n] : examples.offsets[n + 1]] for n in numbers]
    ids, ends = np.concatenate(rows), np.cumsum([len(row) for row in rows])
    simulated.replace(ids, numbers, ends.tolist(), epoch)
    return [part.tolist() for part in np.split(ids, ends[:-1])]


def words_of(split: EncodedSplit, epoch: int = 0, **shares: float) -> list[str]:
    """The words of the first receipt, which is one example, as they are learned in an epoch."""
    (ids,) = seen(SimulatedReceipts(split, SPACE, TOKENIZER, 510, **shares), split, [0], epoch)
    letters = TOKENIZER.convert_ids_to_tokens(ids[1:-1])
    lengths = [len(TOKENIZER.tokenize(text)) for text in split.words.texts]
    ends = np.cumsum(lengths).tolist()
    return ["".join(letters[end - n : end]).replace("##", "") for n, end in zip(lengths, ends, strict=True)]


labels = st.sampled_from(["", "", "MERCHANT_NAME", "ADDRESS_LINE", "DATE", "GRAND_TOTAL"])
texts = st.text(alphabet="abcXYZ0123.,/é€", min_size=1, max_size=9)
lines = st.lists(st.tuples(texts, labels), min_size=1, max_size=8)
receipts_of_lines = st.lists(st.lists(lines, min_size=1, max_size=4), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None)
@given(receipts=receipts_of_lines, max_length=st.sampled_from([16, 24, 512]), data=st.data())
def test_draws_depend_on_seed_epoch_and_receipt_alone(
    receipts: list[list[Line]], max_length: int, data: st.DataObject
) -> None:
    """Any example, also a window with words of its neighbours, is the same alone and in any row, of any process; a
    share of 0 changes nothing, and names alone never touch a sub-token of another label but a mention's."""
    split = split_of(receipts, max_length=max_length, window_stride=4)
    numbers = data.draw(st.permutations(range(len(split.examples))))

    def made(**shares: float) -> SimulatedReceipts:
        return SimulatedReceipts(split, SPACE, TOKENIZER, max_length - 2, **shares)

    examples = split.examples
    plain = [examples.input_ids[examples.offsets[n] : examples.offsets[n + 1]].tolist() for n in numbers]
    assert seen(made(), split, numbers, 3) == plain
    changing = made(merchants=1, values=1)
    seen(changing, split, numbers, 0)  # another epoch leaves nothing behind
    together = seen(changing, split, numbers, 1)
    assert [len(ids) for ids in together] == [len(ids) for ids in plain]
    assert together == [seen(made(merchants=1, values=1), split, [number], 1)[0] for number in numbers]
    places = [np.arange(examples.offsets[n], examples.offsets[n + 1]) for n in numbers]
    valued = np.isin(split.words.gold, [3, 4])
    for ids, before, place in zip(seen(made(merchants=1), split, numbers, 1), plain, places, strict=True):
        owned = examples.words[place] >= 0
        kept = owned & valued[np.where(owned, examples.words[place], 0)]
        assert np.array(ids)[kept].tolist() == np.array(before)[kept].tolist()


def test_a_merchant_is_replaced_wherever_its_name_stands() -> None:
    """One word, one replacement, digits by digits: in the name, the address and a line without labels that says the
    name again; other words without a label stay, and so does what stands between letters."""
    name: Line = [("Golden", "MERCHANT_NAME"), ("Harvest", "MERCHANT_NAME")]
    rest: list[Line] = [
        [("12,", "ADDRESS_LINE"), ("Golden", "ADDRESS_LINE"), ("Road", "ADDRESS_LINE")],
        [("Harvest", ""), ("pie", ""), ("4.50", "GRAND_TOTAL")],
        [("Thanks", ""), ("GOLDEN", ""), ("HARVEST", "")],
    ]
    split = split_of([[name, *rest], [[("Silver", "MERCHANT_NAME"), ("Lantern", "MERCHANT_NAME")]]], examples="receipt")
    drawn = [words_of(split, epoch, merchants=1) for epoch in range(12)]
    for words in drawn:
        assert words[0] == words[3] == words[9]
        assert words[1] == words[10]
        assert re.fullmatch(r"\d\d,", words[2])
        assert words[5:9] == ["harvest", "pie", "4.50", "thanks"]
    assert len({words[0] for words in drawn}) > 4
    assert len({words[2] for words in drawn}) > 4


def test_half_of_the_receipts_and_others_each_epoch() -> None:
    """A share of the receipts is changed, and not the same ones in every epoch."""
    split = split_of([[[(name * 3, "MERCHANT_NAME")]] for name in "abcdefghijklmnopqrstuvwxyz"], examples="receipt")
    simulated = SimulatedReceipts(split, SPACE, TOKENIZER, 510, merchants=0.5)
    plain = seen(SimulatedReceipts(split, SPACE, TOKENIZER, 510), split, list(range(26)), 0)
    changed = [
        {n for n, ids in enumerate(seen(simulated, split, list(range(26)), epoch)) if ids != plain[n]}
        for epoch in range(20)
    ]
    assert 20 * 26 * 0.2 < sum(map(len, changed)) < 20 * 26 * 0.5
    assert len(set(map(frozenset, changed))) > 10


@pytest.mark.parametrize("epoch", range(6))
def test_equal_amounts_and_dates_change_alike(epoch: int) -> None:
    """An amount, with a currency or without, and a date, wherever they stand; a date stays a date in its form, zeros
    stay, and what is neither stays."""
    lines: list[Line] = [
        [("27/06/2018", "DATE"), ("33.90", ""), ("0.00", "")],
        [("RM33.90", "GRAND_TOTAL"), ("x2", ""), ("27/06/2018", "")],
    ]
    words = words_of(split_of([lines], examples="receipt"), epoch, values=1)
    day, month, year = map(int, words[0].split("/"))
    assert re.fullmatch(r"\d\d/\d\d/20\d\d", words[0])
    assert 13 <= day <= 28
    assert 1 <= month <= 12
    assert 2000 <= year < 2030
    assert words[5] == words[0]
    assert re.fullmatch(r"[1-9]\d\.\d\d", words[1])
    assert words[3] == f"rm{words[1]}"
    assert (words[2], words[4]) == ("0.00", "x2")
