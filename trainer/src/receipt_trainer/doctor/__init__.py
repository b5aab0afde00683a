"""Checks of account, stack and jobs: what a first day, or a bad one, trips over."""
