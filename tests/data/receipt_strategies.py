"""Sound and hostile receipts for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from receipt_trainer.contract.names import CORE_LABELS, VALIDATION_STATUSES

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
finite_json = st.dictionaries(
    st.sampled_from(["seg", "source_label", "group", "note"]),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    max_size=3,
)
words_of_text = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Cf", "Zs", "Zl", "Zp")), min_size=1, max_size=12
)
statuses = st.sampled_from(VALIDATION_STATUSES)


@st.composite
def sound_words(draw: st.DrawFn, width: int, height: int) -> dict[str, Any]:
    """A word of whole pixels inside the page."""
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    word: dict[str, Any] = {"text": draw(words_of_text), "box": [x0, y0, x1, y1], "line": draw(st.integers(0, 20))}
    names = draw(st.lists(st.sampled_from(CORE_LABELS), unique=True, max_size=2))
    word["labels"] = [[name, draw(statuses)] for name in names]
    if draw(st.booleans()):
        word["confidence"] = draw(st.floats(0, 1))
    return word | draw(finite_json)


@st.composite
def sound_records(draw: st.DrawFn) -> dict[str, Any]:
    """A line of a JSON lines file without any fault."""
    width, height = draw(st.integers(1, 4000)), draw(st.integers(1, 4000))
    return {
        "id": draw(words_of_text),
        "source": draw(st.sampled_from(["", "sroie", "mine"])),
        "split": draw(st.sampled_from(["", "train"])),
        "width": width,
        "height": height,
        "words": draw(st.lists(sound_words(width, height), min_size=1, max_size=6)),
        **draw(finite_json),
    }


@st.composite
def hostile_records(draw: st.DrawFn) -> Any:
    """A sound line in which some values are replaced by any JSON at all, words and labels included."""
    record = draw(sound_records())
    for word in record["words"]:
        for name in draw(
            st.lists(st.sampled_from(["text", "box", "line", "labels", "label", "confidence"]), max_size=2)
        ):
            word[name] = draw(json_values)
        if draw(st.booleans()):
            word["box"] = draw(st.lists(st.floats(-10, 5000) | st.floats(), min_size=4, max_size=4))
        if draw(st.booleans()):
            word["labels"] = draw(
                st.lists(st.lists(st.text(max_size=5) | json_values, min_size=1, max_size=3), max_size=3)
            )
    for name in draw(st.lists(st.sampled_from(sorted(record)), max_size=1)):
        record[name] = draw(json_values)
    if draw(st.integers(0, 9)) == 0:
        record["words"] = (
            [*record["words"], draw(json_values)] if isinstance(record["words"], list) else record["words"]
        )
    for name in draw(st.lists(st.sampled_from(["image_id", "receipt_id"]), max_size=1)):
        record[name] = draw(json_values)
    return record if draw(st.integers(0, 19)) else draw(json_values)
