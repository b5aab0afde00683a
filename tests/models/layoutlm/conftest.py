"""The receipts and the tiny model of the training room's tests."""

from tests.training.conftest import one_thread, prepared, receipts_file, tokenizer

__all__ = ["one_thread", "prepared", "receipts_file", "tokenizer"]
