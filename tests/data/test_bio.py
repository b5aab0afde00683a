"""BIO tags of a line."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from receipt_trainer.data.labels import to_bio

lines = st.lists(st.sampled_from(["O", "DATE", "TIME", "TAX", "MY-OWN"]), max_size=12)


def test_runs_become_entities() -> None:
    """A run of one label is one entity: B- where it begins, I- where it goes on, anew after `O` or another label."""
    labels = ["O", "DATE", "DATE", "TIME", "DATE", "O", "DATE"]
    assert to_bio(labels) == ["O", "B-DATE", "I-DATE", "B-TIME", "B-DATE", "O", "B-DATE"]
    assert to_bio([]) == []


@given(lines)
def test_labels_come_back(labels: list[str]) -> None:
    """Tags and labels determine each other."""
    assert [tag if tag == "O" else tag[2:] for tag in to_bio(labels)] == labels


@given(lines)
def test_an_i_follows_its_own_label_only(labels: list[str]) -> None:
    """No entity begins with I-."""
    tags = ["O", *to_bio(labels)]
    for before, tag in pairwise(tags):
        if tag.startswith("I-"):
            assert before[2:] == tag[2:]


@given(lines)
def test_seqeval_sees_the_runs(labels: list[str]) -> None:
    """The entities that are scored are the runs of a label, found here by hand."""
    runs, start = [], 0
    for at in range(1, len(labels) + 1):
        if at == len(labels) or labels[at] != labels[start]:
            if labels[start] != "O":
                runs.append((labels[start], start, at - 1))
            start = at
    assert get_entities(to_bio(labels)) == runs
