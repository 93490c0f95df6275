"""The `rungwise` command: one file for each group of subcommands."""
