"""Tables on terminals that are too narrow for them."""

from __future__ import annotations

import click
import pytest

from receipt_trainer.cli.render.tables import print_fitted

HEADS = ("experiment", "eval loss", "hours", "peak memory")
ROWS = [
    ("a-long-name-of-an-experiment-with-words", "0.4000 (1)", "12.50 (2)", "3.5"),
    ("b", "0.5000 (2)", "1.00 (1)", "2.7"),
]


def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int) -> list[str]:
    """The lines on a terminal of so many columns, and what is left out."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    left_out = print_fitted(HEADS, ROWS, ("peak memory", "hours"))
    return [*click.unstyle(capsys.readouterr().out).splitlines(), f"no room for {left_out}"]


@pytest.mark.parametrize(
    ("columns", "left_out"), [(100, []), (52, []), (40, ["peak memory"]), (30, ["peak memory", "hours"])]
)
def test_no_number_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, left_out: list[str]
) -> None:
    """Names are broken, columns left out by name, and every number that is shown is shown whole."""
    *lines, last = shown(capsys, monkeypatch, columns)
    assert last == f"no room for {left_out}"
    assert max(map(len, lines)) <= columns
    text = "\n".join(lines)
    assert "…" not in text
    for row in ROWS:
        for head, cell in list(zip(HEADS, row, strict=True))[1:]:
            assert (cell in text) == (head not in left_out), (head, cell)


def test_a_file_gets_the_whole_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no terminal nothing is broken or left out, whatever COLUMNS says."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert print_fitted(HEADS, ROWS, ("peak memory",)) == []
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(cell in lines[1] for cell in ROWS[0])
