"""The stack's components; `__main__.py` puts them together."""
