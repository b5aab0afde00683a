"""The workers' image: how it is baked, and how old ones are deleted."""
