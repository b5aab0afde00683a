"""Rows of the jobs table."""
