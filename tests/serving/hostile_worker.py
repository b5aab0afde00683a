"""A reader of photos whose decoder does what a hostile file may make it do."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any

from receipt_trainer.data.page_words import DocumentWords, PageWord, PageWords
from receipt_trainer.inference import ocr
from receipt_trainer.serving import photo_worker


def read_document(reader: Any, content: Any, name: str, **_: Any) -> DocumentWords:
    """What the content says."""
    if content == b"die":
        os.abort()
    if content == b"eat":
        bytes(4 << 30)
    if content == b"fault":
        raise ValueError("a word")
    while content == b"hang":
        time.sleep(1)
    return DocumentWords(name, (PageWords(1, 100, 100, (PageWord("fine", (1, 1, 50, 20), 0, 0.9),)),))


if __name__ == "__main__":
    ocr.read_document = read_document  # type: ignore[assignment]
    ocr.Ocr = SimpleNamespace  # type: ignore[assignment, misc]
    photo_worker.main()
