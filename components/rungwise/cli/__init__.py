"""The commands of `rungwise`, by what they are about."""
