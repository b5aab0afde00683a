"""Commands, one a file, imported when called."""
