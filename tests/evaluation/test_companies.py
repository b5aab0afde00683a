from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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
