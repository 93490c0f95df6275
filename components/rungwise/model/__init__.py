"""Base models, their adapters, and their answers."""
