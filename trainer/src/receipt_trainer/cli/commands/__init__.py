"""A file a group of commands: what is asked, which room does it, how it is answered."""
