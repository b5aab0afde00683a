"""The base's own task beside the new one: its pages as lines to train on, and how much of it is left after training.

A model that is fine-tuned on one task forgets others. Mixing in inputs of the old task with the answers that the model
itself gave to them is pseudo-rehearsal (Robins 1995, Connection Science 7): it needs no labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Final

from rapidfuzz.distance import Levenshtein

from receipt_trainer.contract.run_record import RehearsalScores
from receipt_trainer.data.document_set import VlExample
from receipt_trainer.models.paddleocr_vl.generate import answer
from receipt_trainer.models.paddleocr_vl.model import Loaded, load

OCR_PROMPT: Final = "OCR:"
"""The task of the published model that is rehearsed: the text of a page."""

REHEARSAL_FILE: Final = "rehearsal.jsonl"
_MARGIN: Final = 1.5


def to_ask(example: VlExample) -> VlExample:
    """The example's page, asked for its text."""
    return replace(
        example, id=f"{OCR_PROMPT}{example.id}", instruction=OCR_PROMPT, input="", output="", difficulty=None
    )


def edit_distance(texts: Sequence[str], wanted: Sequence[str]) -> float:
    """Mean over pages of insertions, deletions and replacements, as a share of the longer text: 0 same, 1 nothing."""
    pairs = zip(texts, wanted, strict=True)
    return sum(Levenshtein.normalized_distance(*pair) for pair in pairs) / len(wanted)


def score_rehearsal(loaded: Loaded, pages: Sequence[VlExample], batch_size: int) -> RehearsalScores:
    """The base and the trained model asked for the pages' texts.

    Args:
        loaded: the trained model; without adapters its base is loaded once more.
        pages: with the texts that they are compared with.

    Raises:
        WorldError: a page does not fit into the GPU's memory.
    """
    wanted = [page.output for page in pages]
    longest = max(len(loaded.processor.tokenizer(text)["input_ids"]) for text in wanted)

    def distance(model: Loaded) -> float:
        texts = answer(model, pages, max_new_tokens=int(_MARGIN * longest) + 1, batch_size=batch_size)
        return round(edit_distance(texts, wanted), 4)

    after = distance(loaded)
    bare: AbstractContextManager[Any] = nullcontext()
    base = loaded
    if hasattr(loaded.model, "disable_adapter"):
        bare = loaded.model.disable_adapter()
    else:
        base = load(loaded.name, device="cuda" if loaded.device.type == "cuda" else "cpu")
    with bare:
        return RehearsalScores(pages=len(pages), before=distance(base), after=after)
