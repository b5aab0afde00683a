"""The report of a run: HTML and terminal."""
