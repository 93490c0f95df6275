"""Training rows written by a model from a few real ones: an effect, whose result is a new file in data/raw."""
