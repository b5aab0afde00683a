"""The reader over HTTP, and the page on which a person corrects what it reads."""
