"""The accepted versions of the rows: what came and went, what a row was used for, and how it is forgotten."""
