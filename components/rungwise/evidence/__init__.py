"""Scores, confidence intervals and evidence from predictions, without torch."""
