"""Generates training rows with a model that is shown a few real ones; the result is a new file in data/raw."""
