"""Fine-tune LayoutLM on labelled receipts, on a laptop or on spot GPU instances."""

__version__ = "0.1.0"
