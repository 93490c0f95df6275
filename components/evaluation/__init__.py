"""Predictions, metrics, and what they prove."""
