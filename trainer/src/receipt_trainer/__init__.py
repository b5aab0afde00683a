"""Fine-tune LayoutLM on labelled receipts, on a laptop or on spot GPU instances; read receipts with it.

`load(model).read(photo)` is all that reading takes; it needs the extra `[read]`, and no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from receipt_trainer.inference.answer import Answer as Answer
    from receipt_trainer.inference.document_reader import DocumentReader as DocumentReader

__version__ = "0.1.0"
__all__ = ["Answer", "DocumentReader", "__version__", "load"]


def load(model: str | Path, **options: Any) -> DocumentReader:
    """A model that is ready to read: `load("RUN").read("photo.jpg")`.

    Args:
        model: a run's folder, a package's, or s3://bucket/.../model/serve.
        options: date_order, currency, known: as of `DocumentReader`.

    Raises:
        UserError: there is no model package, or it is damaged.
        ModuleNotFoundError: the extra `[read]` is not installed.
    """
    try:
        from receipt_trainer.inference.document_reader import DocumentReader
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("receipt_trainer"):
            raise
        raise ModuleNotFoundError(
            f"{error.name} is not installed: pip install './trainer[read]'", name=error.name
        ) from None

    return DocumentReader.open(model, **options)


def __getattr__(name: str) -> Any:
    if name == "Answer":
        from receipt_trainer.inference.answer import Answer

        return Answer
    if name == "DocumentReader":
        from receipt_trainer.inference.document_reader import DocumentReader

        return DocumentReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
