"""Receipts on their way to the model: read, label, split, cut into examples."""
