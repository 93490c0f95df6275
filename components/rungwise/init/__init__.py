"""A workspace of one's own from a file of rows: what can be guessed is guessed, and what was guessed is said."""
