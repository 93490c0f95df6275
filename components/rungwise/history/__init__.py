"""The accepted versions of the rows: how they differ, what a row was used for, and how it is removed."""
