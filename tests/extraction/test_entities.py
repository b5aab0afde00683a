"""Labelled words as fields."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.extraction.entities import ReadWord, entities, fields, tags


@st.composite
def read_words(draw: st.DrawFn) -> list[ReadWord]:
    """Words in reading order, with any labels."""
    lines = sorted(draw(st.lists(st.integers(-1, 4), max_size=14)))
    numbers = draw(st.permutations(range(len(lines))))
    corner = st.integers(0, 50)
    return [
        ReadWord(
            number=number,
            text=draw(st.text(min_size=1, max_size=3)),
            box=(draw(corner), draw(corner), 51 + draw(corner), 51 + draw(corner)),
            line=line,
            label=draw(st.sampled_from(["O", "DATE", "TAX"])),
            score=draw(st.floats(0, 1)),
        )
        for number, line in zip(numbers, lines, strict=True)
    ]


@given(read_words())
def test_every_labelled_word_is_in_one_entity(words: list[ReadWord]) -> None:
    """The entities' words are the words with a label, each once, in reading order."""
    listed = [number for entity in entities(words) for number in entity.words]
    assert listed == [word.number for word in words if word.label != "O"]


@given(read_words())
def test_entities_are_the_runs_that_the_tags_say(words: list[ReadWord]) -> None:
    """B- begins an entity, I- continues it: as many entities as B- tags, and no entity crosses a line."""
    found = tags(words)
    assert [tag if tag == "O" else tag[2:] for tag in found] == [word.label for word in words]
    starts = [word.number for word, tag in zip(words, found, strict=True) if tag.startswith("B-")]
    assert [entity.words[0] for entity in entities(words)] == starts
    by_number = {word.number: word for word in words}
    for entity in entities(words):
        assert {by_number[number].label for number in entity.words} == {entity.label}
        assert len({by_number[number].line for number in entity.words}) == 1


@given(read_words())
def test_an_entity_holds_its_words(words: list[ReadWord]) -> None:
    """Text joined by spaces, the box around all, the score between the lowest and the highest."""
    by_number = {word.number: word for word in words}
    for entity in entities(words):
        own = [by_number[number] for number in entity.words]
        assert entity.text == " ".join(word.text for word in own)
        assert entity.box[:2] == (min(word.box[0] for word in own), min(word.box[1] for word in own))
        assert entity.box[2:] == (max(word.box[2] for word in own), max(word.box[3] for word in own))
        assert min(word.score for word in own) - 1e-9 <= entity.score <= max(word.score for word in own) + 1e-9


@given(read_words())
def test_fields_group_the_entities(words: list[ReadWord]) -> None:
    """Fields hold every entity under its label, in reading order."""
    by_label = fields(words)
    assert list(by_label) == list(dict.fromkeys(entity.label for entity in entities(words)))
    for label, found in by_label.items():
        assert found == [entity for entity in entities(words) if entity.label == label]


def test_a_run_ends_at_the_end_of_its_line() -> None:
    """Two lines of one address are two values."""
    words = [
        ReadWord(n, text, (0, n, 9, n + 1), line, "ADDRESS_LINE", 0.5)
        for n, (text, line) in enumerate([("12", 0), ("High", 0), ("Street", 0), ("London", 1)])
    ]
    assert [entity.text for entity in fields(words)["ADDRESS_LINE"]] == ["12 High Street", "London"]
    assert [len(list(run)) for _, run in groupby(tags(words))] == [1, 2, 1]
