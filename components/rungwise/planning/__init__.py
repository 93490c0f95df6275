"""What a rung needs before it runs: memory by part, time, cost; and what a machine can hold.

`shape` reads a model's config.json and counts its numbers, `need` estimates memory and operations, `machines` reads the
table, `measure` looks at this machine, `plan` puts them together for a ladder.
"""
