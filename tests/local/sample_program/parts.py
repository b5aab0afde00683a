"""A module of the program's own."""

WORD = "first"
RUNS: list[str] = []
