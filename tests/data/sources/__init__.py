"""Readers of files of other programs."""
