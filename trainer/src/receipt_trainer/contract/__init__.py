"""What two rooms share: names, shapes and records. Imports nothing of ours."""
