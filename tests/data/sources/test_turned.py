"""Answers about photos that lay on their side or on their head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.drafts import read_drafts
from receipt_trainer.data.sources.foreign import read_foreign
from receipt_trainer.data.sources.load import read_files
from tests.data.sources import samples
from tests.data.sources.samples import HEIGHT, TEXTS, WIDTH

FORMS = {
    "textract": (samples.textract, (1.0, 1.0)),
    "textract-expense": (samples.textract_expense, (1.0, 1.0)),
    "vision": (samples.vision, (WIDTH, HEIGHT)),
    "azure": (samples.azure, (WIDTH, HEIGHT)),
    "azure-inch": (lambda: samples.azure(unit="inch"), (WIDTH / 200, HEIGHT / 200)),
    "azure-read": (samples.azure_read, (WIDTH / 200, HEIGHT / 200)),
    "azure-image": (samples.azure_image, (WIDTH, HEIGHT)),
}


def turned(value: Any, size: tuple[float, float], quarters: int) -> Any:
    """An answer as it would be about the same photo turned clockwise; corners keep the order of the text."""

    def point(x: float, y: float) -> tuple[float, float]:
        width, height = size
        for _ in range(quarters):
            x, y, width, height = height - y, x, height, width
        return x, y

    if isinstance(value, list):
        if len(value) == 8 and all(isinstance(each, int | float) for each in value):
            return [side for n in range(0, 8, 2) for side in point(*value[n : n + 2])]
        return [turned(each, size, quarters) for each in value]
    if not isinstance(value, dict):
        return value
    for x, y in (("x", "y"), ("X", "Y")):
        if x in value:
            return dict(zip((x, y), point(value[x], value[y]), strict=True))
    if "Left" in value:
        x0, y0 = point(value["Left"], value["Top"])
        x1, y1 = point(value["Left"] + value["Width"], value["Top"] + value["Height"])
        return {"Left": min(x0, x1), "Top": min(y0, y1), "Width": abs(x1 - x0), "Height": abs(y1 - y0)}
    found = {key: turned(each, size, quarters) for key, each in value.items()}
    if quarters % 2 and "width" in found:
        found["width"], found["height"] = found["height"], found["width"]
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_page_is_the_upright_one(form: str, quarters: int, tmp_path: Path) -> None:
    """Words, labels and boxes are those of the upright page, in reading order, and the turn is told; a person who looks
    at the file sees boxes as they stand in it."""
    make, size = FORMS[form]
    upright, path = tmp_path / "a.json", tmp_path / "b" / "a.json"
    path.parent.mkdir()
    upright.write_text(json.dumps(make()))
    path.write_text(json.dumps(turned(make(), size, quarters)))
    (document,) = read_foreign(path)
    assert document.pages[0].turned == 360 - 90 * quarters
    (wanted,), (found,) = (read_files(each, ProblemLog()) for each in (upright, path))
    assert [word.text for word in found.words] == TEXTS
    assert (found.width, found.height) == (wanted.width, wanted.height)
    for one, other in zip(found.words, wanted.words, strict=True):
        assert one.box == pytest.approx(other.box, abs=1e-6)
        assert one.labels == other.labels
    (draft,) = read_drafts(path, None)
    if quarters % 2:
        assert (draft.width, draft.height) == (wanted.height, wanted.width)


def test_a_few_words_across_do_not_turn_a_page(tmp_path: Path) -> None:
    """A page of which less than two thirds of the words run up stays as it is."""
    answer = samples.textract()
    words = [block for block in answer["Blocks"] if block["BlockType"] == "WORD"]
    for block in words[:3]:
        polygon = block["Geometry"]["Polygon"]
        block["Geometry"]["Polygon"] = polygon[3:] + polygon[:3]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(answer))
    assert next(read_foreign(path)).pages[0].turned == 0
