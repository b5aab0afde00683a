"""Names, shapes and records that two or more packages share. Imports no other package of ours."""
