from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks import few_labels
from benchmarks.companies import company, cut


@given(
    sizes=st.lists(st.integers(1, 9), min_size=6, max_size=30), seed=st.integers(0, 99), known=st.sampled_from([0, 0.2])
)
def test_no_company_is_learned_and_scored_as_new(sizes: list[int], seed: int, known: float) -> None:
    """Every receipt is in one part of a fold, and scored as new in one fold; companies of what is scored as new, and of
    what chooses the epoch, are in no other part; what is scored apart is of companies that are learned."""
    lines = [
        {"id": f"{number}-{copy}", "words": [{"text": f"Shop {number}", "label": "MERCHANT_NAME"}]}
        for number, size in enumerate(sizes)
        for copy in range(size)
    ]
    scored = []
    for number in range(2):
        fold = cut(lines, 2, number, seed, known)
        parts = {name: {company(line) for line in part} for name, part in vars(fold).items()}
        assert sorted(line["id"] for part in vars(fold).values() for line in part) == sorted(
            line["id"] for line in lines
        )
        assert not parts["new"] & (parts["learn"] | parts["choose"] | parts["known"])
        assert not parts["choose"] & (parts["learn"] | parts["known"])
        assert parts["known"] <= parts["learn"]
        scored += [line["id"] for line in fold.new]
    assert sorted(scored) == sorted(line["id"] for line in lines)


def test_few_labels_are_drawn_alike_for_every_start() -> None:
    """More receipts of a draw begin with the fewer ones, whatever the order of the file; other draws are others."""
    lines = [{"id": f"r{number}", "words": []} for number in range(50)]
    ten, thirty = (few_labels.drawn(lines, count, 1) for count in (10, 30))
    assert ten == thirty[:10] == few_labels.drawn(lines[::-1], 10, 1)
    assert ten != few_labels.drawn(lines, 10, 2)


def test_the_interval_of_draws_is_students() -> None:
    """Of 1, 2 and 3: 2 and 4.3027 (Student's t, 97.5 %, 2 degrees of freedom) standard errors of 1 / sqrt(3)."""
    assert few_labels.interval([0.1, 0.2, 0.3]) == "0.2000 [-0.0484, 0.4484]"
    assert few_labels.interval([0.5]) == "0.5000"
